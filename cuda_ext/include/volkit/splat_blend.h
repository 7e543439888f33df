// Blending of projected splats (see volkit/ops/splat/blend.py for the formulas): what ordering, listing and both passes
// share. Powers are of 2: alpha = opacity 2^q, q = A dx^2 + B dx dy + C dy^2, and alpha reaches 1/255 where q >= faintest.
//
// Backward runs near to far, as forward does, so that both see the same transmittance: with g the gradient of a pixel,
// s_i = g . c_i and `behind` = g . (what is behind splat i), known at first from the finished pixel,
//   dL/dalpha_i = T_i s_i - behind_i / (1 - alpha_i)
#pragma once

#include "volkit/masks.h"

namespace volkit {

struct SplatBlendTask {
  const float* flat;          // [splat, 2]
  const float* conics;        // [splat, 3]
  const float* opacities;     // [splat]
  const float* depths;        // [splat]
  const float* channels;      // [splat, channel]
  const float* extents;       // [splat, 2]
  int64_t splats;
  int64_t drawn_count;
  int64_t channel_count;
  int64_t width, height;
  int64_t tile;
  int64_t chunks;
  int32_t* order;             // [drawn], near to far
  int64_t* drawn;             // [1]: how many
  int32_t* scratch;           // [3 splats]
  float* records;             // [drawn, stride]
  int32_t* counts;            // [chunk, tile]: pairs
  int64_t* slots;             // [drawn + 1]: tiles of splat i in slots[i + 1], later their running sum
  const int64_t* starts;      // [tile * chunk + 1]: where a chunk's part of a tile's list begins
  const int64_t* ends;        // [tile + 1]
  int32_t* list;              // [pair, 2]: place in order, number of the pair
  float* picture;             // [channel, height, width]
  float* opacity;             // [height, width]
  float* median;              // [height, width]
  const float* picture_grad;  // as picture
  const float* opacity_grad;
  float* pair_grads;          // [pair, 6 + channel]
  float* mean_grad;           // [splat, 2]
  float* conic_grad;          // [splat, 3]
  float* opacities_grad;      // [splat]
  float* channels_grad;       // [splat, channel]
};

}  // namespace volkit

namespace volkit::VOLKIT_ISA {

constexpr int kSplatHeader = 8;  // floats of a record before its channels
constexpr int kSplatShape = 6;   // floats of a pair's gradient before its channels
constexpr float kSplatOpaquest = 0.99f;
constexpr float kSplatStop = 1e-4f;
constexpr float kLog2E = 1.44269504f;

// A record: what a tile reads of a splat, in one or two cache lines.
struct SplatRecord {
  float x, y, a, b, c, opacity, faintest, depth;
};

VOLKIT_FN int64_t splat_stride(int64_t channels) { return kSplatHeader + (channels + 3) / 4 * 4; }

#if defined(__CUDACC__)
VOLKIT_FN float log2_of_one(float x) { return log2f(x); }
#else
VOLKIT_FN float log2_of_one(float x) { return __builtin_log2f(x); }
#endif

// Writes the record of splat i and its channels to place k; returns it.
VOLKIT_FN SplatRecord splat_record(const SplatBlendTask& task, int64_t i, int64_t k) {
  const int64_t stride = splat_stride(task.channel_count);
  const float* conic = task.conics + 3 * i;
  const float opacity = task.opacities[i];
  const SplatRecord s{task.flat[2 * i], task.flat[2 * i + 1], -0.5f * kLog2E * conic[0], -kLog2E * conic[1],
                      -0.5f * kLog2E * conic[2], opacity, -log2_of_one(opacity * 255.0f), task.depths[i]};
  float* record = task.records + k * stride;
  __builtin_memcpy(record, &s, sizeof(s));
  for (int64_t c = 0; c < stride - kSplatHeader; ++c) {
    record[kSplatHeader + c] = c < task.channel_count ? task.channels[i * task.channel_count + c] : 0.0f;
  }
  return s;
}

VOLKIT_FN SplatRecord read_record(const float* record) {
  SplatRecord s;
  __builtin_memcpy(&s, record, sizeof(s));
  return s;
}

// Half the height of what is drawn.
VOLKIT_FN float half_height(const SplatRecord& s) {
  return square_root(larger(s.faintest * s.a / (s.a * s.c - 0.25f * s.b * s.b), 0.0f));
}

// The gradient of a pair from its sums over pixels of g = dL/dln(alpha): g dx, g dy, g dx^2, g dx dy, g dy^2, g.
VOLKIT_FN void splat_shape_grad(const SplatRecord& s, const float* sums, float* shape) {
  const float a = s.a * (-2.0f / kLog2E), b = s.b * (-1.0f / kLog2E), c = s.c * (-2.0f / kLog2E);
  shape[0] = a * sums[0] + b * sums[1];
  shape[1] = b * sums[0] + c * sums[1];
  shape[2] = -0.5f * sums[2];
  shape[3] = -sums[3];
  shape[4] = -0.5f * sums[4];
  shape[5] = sums[5] / s.opacity;
}

// Adds up the pairs of drawn splat k.
VOLKIT_FN void splat_gather_pairs(const SplatBlendTask& task, int64_t k) {
  const int64_t i = task.order[k], channels = task.channel_count, width = kSplatShape + channels;
  float shape[kSplatShape] = {};
  float* colours = task.channels_grad + i * channels;
  for (int64_t slot = task.slots[k]; slot < task.slots[k + 1]; ++slot) {
    const float* from = task.pair_grads + slot * width;
    for (int j = 0; j < kSplatShape; ++j) shape[j] += from[j];
    for (int64_t c = 0; c < channels; ++c) colours[c] += from[kSplatShape + c];
  }
  for (int j = 0; j < 2; ++j) task.mean_grad[2 * i + j] = shape[j];
  for (int j = 0; j < 3; ++j) task.conic_grad[3 * i + j] = shape[2 + j];
  task.opacities_grad[i] = shape[5];
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

// Calls f(tile) for each tile that the splat reaches, row by row of tiles.
template <class F> VOLKIT_FN void splat_tiles(const SplatBlendTask& task, const SplatRecord& s, float ey, const F& f) {
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
    const int64_t left = int64_t(larger(low, 0.0f) / tile);
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
