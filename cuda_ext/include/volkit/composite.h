// Emission and absorption along packed rays, forward and backward.
//
//   tau_i = density_i (t1_i - t0_i),  S_i = sum_{j<i} tau_j,  w_i = exp(-S_i) (1 - exp(-tau_i)), 0 where exp(-S_i) < stop
//   with q_i = dL/dw_i:  dL/dtau_i = exp(-S_i - tau_i) q_i - sum_{j>i} w_j q_j,  dL/dchannel_i = w_i dL/dsum
#pragma once

#include "volkit/fields.h"
#include "volkit/exponential.h"

namespace volkit {

#define VOLKIT_COMPOSITE_FIELDS(TENSOR, STRIDED, HOST, NUMBER)                                                   \
  TENSOR(const float, density, samples)  /* [sample] */                                                          \
  STRIDED(const float, channels, samples * channel_count)  /* [sample, channel], any strides */                  \
  TENSOR(const float, t0, samples)  /* [sample] */                                                               \
  TENSOR(const float, t1, samples)  /* [sample] */                                                               \
  TENSOR(const int64_t, offsets, rays + 1)  /* [ray + 1] */                                                      \
  NUMBER(int64_t, samples)                                                                                       \
  NUMBER(int64_t, rays)                                                                                          \
  NUMBER(int64_t, channel_count)                                                                                 \
  NUMBER(int64_t, sample_stride)                                                                                 \
  NUMBER(int64_t, channel_stride)                                                                                \
  NUMBER(float, stop)                                                                                            \
  TENSOR(float, sums, rays * channel_count)  /* [ray, channel] */                                                \
  TENSOR(float, opacity, rays)  /* [ray] */                                                                      \
  TENSOR(float, depth, rays)  /* [ray] */                                                                        \
  TENSOR(float, weights, samples)  /* [sample]: written forward, read backward */                                \
  TENSOR(const float, sums_grad, rays * channel_count)  /* [ray, channel] or null */                             \
  TENSOR(const float, opacity_grad, rays)  /* [ray] or null */                                                   \
  TENSOR(const float, depth_grad, rays)  /* [ray] or null */                                                     \
  TENSOR(const float, weights_grad, samples)  /* [sample] or null */                                             \
  TENSOR(float, scratch, samples)  /* [sample], for the backward pass */                                         \
  TENSOR(float, density_grad, samples)  /* [sample] */                                                           \
  STRIDED(float, channels_grad, samples * channel_count)  /* [sample, channel] with strides as below, or null */ \
  NUMBER(int64_t, grad_sample_stride)                                                                            \
  NUMBER(int64_t, grad_channel_stride)
VOLKIT_TASK(CompositeTask, VOLKIT_COMPOSITE_FIELDS)

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
