// Emission and absorption along packed rays, forward and backward.
//
//   tau_i = density_i (t1_i - t0_i),  S_i = sum_{j<i} tau_j,  w_i = exp(-S_i) (1 - exp(-tau_i)), 0 where exp(-S_i) < stop
//   with q_i = dL/dw_i:  dL/dtau_i = exp(-S_i - tau_i) q_i - sum_{j>i} w_j q_j,  dL/dchannel_i = w_i dL/dsum
#pragma once

#include "volkit/exponential.h"

namespace volkit {

struct CompositeTask {
  const float* density;       // [sample]
  const float* channels;      // [sample, channel], any strides
  const float* t0;            // [sample]
  const float* t1;            // [sample]
  const int64_t* offsets;     // [ray + 1]
  int64_t rays;
  int64_t channel_count;
  int64_t sample_stride;
  int64_t channel_stride;
  float stop;
  float* sums;                // [ray, channel]
  float* opacity;             // [ray]
  float* depth;               // [ray]
  float* weights;             // [sample]: written forward, read backward
  const float* sums_grad;     // [ray, channel] or null
  const float* opacity_grad;  // [ray] or null
  const float* depth_grad;    // [ray] or null
  const float* weights_grad;  // [sample] or null
  float* scratch;             // [sample], for the backward pass
  float* density_grad;        // [sample]
  float* channels_grad;       // [sample, channel] with strides as below, or null
  int64_t grad_sample_stride;
  int64_t grad_channel_stride;
};

}  // namespace volkit

namespace volkit::VOLKIT_ISA {

// The weight of a sample from its own optical depth and the one before it.
template <class T> VOLKIT_FN T composite_weight(T before, T tau, T stop) {
  const T transmittance = exponential(-before).exp;
  return select(transmittance < stop, T{}, transmittance * -exponential(-tau).expm1);
}

// The part of dL/dtau that comes from the sample's own weight; -sum_{j>i} w_j q_j is the rest.
template <class T> VOLKIT_FN T composite_own_grad(T before, T tau, T stop, T q) {
  return select(exponential(-before).exp < stop, T{}, exponential(-(before + tau)).exp * q);
}

}  // namespace volkit::VOLKIT_ISA
