// Blending of projected splats (see volkit/ops/splat/blend.py for the formulas): what ordering, listing and both passes
// share; what they ask a splat itself is in splat_sight.h. Powers are of 2: alpha = opacity 2^q, which reaches 1/255
// where q >= faintest.
//
// Backward runs near to far, as forward does, so that both see the same transmittance: with g the gradient of a pixel,
// s_i = g . c_i and `behind` = g . (what is behind splat i), known at first from the finished pixel,
//   dL/dalpha_i = T_i s_i - behind_i / (1 - alpha_i)
#pragma once

#include "volkit/splat_sight.h"

namespace volkit::VOLKIT_ISA {

constexpr float kSplatOpaquest = 0.99f;
constexpr float kSplatStop = 1e-4f;

// Adds up the pairs of drawn splat k.
template <class Record> VOLKIT_FN void splat_gather_pairs(const SplatBlendTask& task, int64_t k) {
  constexpr int columns = Record::kColumns, shape = kSplatPair<Record>;
  const int64_t i = task.order[k], channels = task.channel_count, width = shape + channels;
  float sums[shape] = {};
  float* colours = task.channels_grad + i * channels;
  for (int64_t slot = task.slots[k]; slot < task.slots[k + 1]; ++slot) {
    const float* from = task.pair_grads + slot * width;
    for (int j = 0; j < shape; ++j) sums[j] += from[j];
    for (int64_t c = 0; c < channels; ++c) colours[c] += from[shape + c];
  }
  for (int j = 0; j < 2; ++j) task.mean_grad[2 * i + j] = sums[j];
  for (int j = 0; j < columns; ++j) task.shape_grad[columns * i + j] = sums[2 + j];
  task.opacities_grad[i] = sums[2 + columns];
}

struct Reach {
  float low, high;  // empty where low > high
};

// The range of the second coordinate of {a u^2 + b u v + c v^2 >= level} over u in [from, to]; a, c and level are negative.
// Its upper border is a concave function of u, highest at `peak`, its lower border the mirror image.
VOLKIT_FN Reach splat_reach(float a, float b, float c, float level, float from, float to) {
  const float determinant = a * c - 0.25f * b * b;
  const float most = square_root(larger(level * a / determinant, 0.0f));
  const float peak = -0.5f * b * most / a;
  const float edge = square_root(larger(level * c / determinant, 0.0f));
  if (from > edge || to < -edge) return {1.0f, 0.0f};
  const float above = smaller(larger(peak, from), to), below = smaller(larger(-peak, from), to);
  const float root_above = square_root(larger(b * b * above * above - 4.0f * c * (a * above * above - level), 0.0f));
  const float root_below = square_root(larger(b * b * below * below - 4.0f * c * (a * below * below - level), 0.0f));
  const float over = 0.5f / c;  // negative: the larger root has the minus sign
  return {(-b * below + root_below) * over, (-b * above - root_above) * over};
}

// Half the height of what is drawn.
VOLKIT_FN float half_height(const EllipseRecord& s) {
  return square_root(larger(s.faintest * s.a / (s.a * s.c - 0.25f * s.b * s.b), 0.0f));
}

// Calls f(tile) for each tile that the splat reaches, row by row of tiles.
template <class F> VOLKIT_FN void splat_tiles(const SplatBlendTask& task, const EllipseRecord& s, float ey, const F& f) {
  const float tile = float(task.tile);
  const int64_t wide = (task.width + task.tile - 1) / task.tile, tall = (task.height + task.tile - 1) / task.tile;
  if (!(s.y + ey > 0.0f) || !(s.y - ey < float(task.height))) return;
  const int64_t top = int64_t(larger(s.y - ey - 0.5f, 0.0f) / tile);
  const int64_t bottom = smaller<int64_t>(tall - 1, int64_t(smaller(s.y + ey, float(task.height)) / tile));
  for (int64_t row = top; row <= bottom; ++row) {
    const float first = float(row) * tile + 0.5f - s.y;  // pixel centres
    const Reach x = splat_reach(s.c, s.b, s.a, s.faintest, first - 0.01f, first + tile - 0.99f);
    if (x.low > x.high) continue;
    // A hundredth of a pixel of slack: rounding must not lose what the pixels themselves decide.
    const float low = s.x + x.low - 0.51f, high = s.x + x.high - 0.49f;
    if (high < 0.0f || low > float(task.width)) continue;
    const float from = larger(low, 0.0f);
    const int64_t left = (int64_t(from) + (float(int64_t(from)) < from)) / task.tile;  // of the first pixel's tile
    const int64_t right = smaller<int64_t>(wide - 1, int64_t(smaller(high, float(task.width)) / tile));
    for (int64_t column = left; column <= right; ++column) f(row * wide + column);
  }
}

template <class T> struct SplatHit {
  T alpha, before, weight, left;
  typename LaneKind<T>::Mask drawn;
};

// One splat at some pixels: `left` is the light that is left, negative once a pixel is done.
template <class T> VOLKIT_FN SplatHit<T> splat_hit(T q, float opacity, float faintest, T left) {
  SplatHit<T> hit;
  hit.alpha = smaller_of(opacity * exp2_of(q), kSplatOpaquest * one<T>());
  hit.before = left;
  hit.weight = hit.alpha * left;
  const T next = left - hit.weight;
  const auto covered = (q >= faintest * one<T>()) & (left > zero<T>());
  const auto stays = next > kSplatStop * one<T>();
  hit.drawn = covered & stays;
  hit.weight = select(hit.drawn, hit.weight, zero<T>());
  hit.left = select(covered, select(stays, next, -left), left);
  return hit;
}

}  // namespace volkit::VOLKIT_ISA
