// Blending of projected splats (see volkit/ops/splat/blend.py for the formulas): what both passes share on all devices; what
// they ask a splat itself is in splat_footprint.h.
//
// Backward runs near to far, as forward does, so that both see the same transmittance: with g the gradient of a pixel,
// s_i = g . c_i and `behind` = g . (what is behind splat i), known at first from the finished pixel,
//   dL/dln(alpha_i) = alpha_i T_i s_i - behind_i alpha_i / (1 - alpha_i)
#pragma once

#include "volkit/splat_cells.h"
#include "volkit/splat_footprint.h"

namespace volkit::VOLKIT_ISA {

constexpr float kSplatOpaquest = 0.99f;
constexpr float kSplatStop = 1e-4f;

template <class T> struct SplatHit {
  T alpha, before, weight, left;
  Predicate<T> drawn, free;  // free: alpha is not held at its limit
};

VOLKIT_FN float minus_magnitude(float x) { return x < 0.0f ? x : -x; }
VOLKIT_FN float reciprocal(float x) { return 1.0f / x; }
#if !defined(__CUDACC__)
VOLKIT_FN Lanes minus_magnitude(Lanes x) { return (Lanes)((LanesU)x | 0x80000000u); }
// To 1e-7, by one step of Newton's method from the processor's estimate.
VOLKIT_FN Lanes reciprocal(Lanes x) {
#if defined(__AVX512F__)
  const Lanes near = (Lanes)_mm512_rcp14_ps((__m512)x);
  return near * (2.0f - x * near);
#elif defined(__AVX__)
  const Lanes near = (Lanes)_mm256_rcp_ps((__m256)x);
  return near * (2.0f - x * near);
#else
  return 1.0f / x;
#endif
}
#endif

// One splat at some pixels: `left` is the light that is left, negative once a pixel is done.
template <class T> VOLKIT_FN SplatHit<T> splat_hit(T power, T left) {
  SplatHit<T> hit;
  const T alpha = exp2_near(power);  // far below the faintest it is anything
  hit.alpha = smaller_of(alpha, kSplatOpaquest * one<T>());
  hit.before = left;
  const T weight = hit.alpha * left, next = left - hit.alpha * left;
  const auto covered = at_least(power, kSplatFaintestPower);
  hit.drawn = covered & above(next, kSplatStop);
  hit.free = hit.drawn & above(kSplatOpaquest * one<T>(), alpha);
  hit.weight = select(hit.drawn, weight, zero<T>());
  hit.left = select(hit.drawn, next, select(covered, minus_magnitude(left), left));
  return hit;
}

// Adds up the pairs of the splat at place k.
template <class Record> VOLKIT_FN void splat_gather_pairs(const SplatBlendTask& task, int64_t k) {
  constexpr int columns = Record::kColumns, own = PairSums<Record, float>::kCount;
  const int64_t i = task.order[k], channels = task.channel_count, width = own + channels;
  float sums[own] = {}, grad[2 + columns + 1];
  float* colours = task.channels_grad + i * channels;
  for (int64_t slot = task.slots[k]; slot < task.slots[k + 1]; ++slot) {
    const float* from = task.pair_sums + slot * width;
    for (int j = 0; j < own; ++j) sums[j] += from[j];
    for (int64_t c = 0; c < channels; ++c) colours[c] += from[own + c];
  }
  splat_grad(record_at<Record>(task.records + i * splat_stride(task)), task.opacities[i], sums, grad);
  for (int j = 0; j < 2; ++j) task.means_grad[2 * i + j] = grad[j];
  for (int j = 0; j < columns; ++j) task.shapes_grad[columns * i + j] = grad[2 + j];
  task.opacities_grad[i] = grad[2 + columns];
}

}  // namespace volkit::VOLKIT_ISA
