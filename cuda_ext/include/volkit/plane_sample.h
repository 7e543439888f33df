// Products of planes and lines: feature (term, c) = product over the term's factors of a bilinear or linear read.
//
// A factor lies in memory as [size_v, size_u, channel]; a line is a plane of one row. The factors and terms come as
// tables of int64 in host memory, one row each.
#pragma once

#include "volkit/fields.h"
#include "volkit/channels.h"

namespace volkit {

struct PlaneFactor {
  int64_t data;            // address of [size_v, size_u, channel]
  int64_t grad;            // address of its gradient, added to, or 0
  int64_t axis_u, axis_v;  // columns of `positions`; axis_v is -1 for a line
  int64_t size_u, size_v;
};

struct PlaneTerm {
  int64_t first, factors;  // its rows in the table of factors
  int64_t channels, feature;  // its columns in the output
};

#define VOLKIT_PLANE_FIELDS(TENSOR, STRIDED, HOST, NUMBER)                                                     \
  TENSOR(const float, positions, points * axes)  /* [point, axis], -1 to 1 from the first texel to the last */ \
  NUMBER(int64_t, points)                                                                                      \
  NUMBER(int64_t, axes)                                                                                        \
  NUMBER(int64_t, factor_count)                                                                                \
  NUMBER(int64_t, term_count)                                                                                  \
  HOST(const PlaneFactor, factors, factor_count)                                                               \
  HOST(const PlaneTerm, terms, term_count)                                                                     \
  NUMBER(int64_t, features)                                                                                    \
  NUMBER(int64_t, reduce)  /* the output is the sum of all features */                                         \
  TENSOR(float, output, points * (reduce ? 1 : features))  /* [point, feature] or [point, 1] */                \
  TENSOR(const float, grad, points * (reduce ? 1 : features))  /* like output */                               \
  TENSOR(float, position_grad, points * axes)  /* [point, axis] */
VOLKIT_TASK(PlaneTask, VOLKIT_PLANE_FIELDS)

}  // namespace volkit

namespace volkit::VOLKIT_ISA {

constexpr int kPlaneFactors = 8;  // factors of one term

struct PlaneAxis {
  int32_t cell;
  float fraction;
};

VOLKIT_FN float plane_texel(float x, float last) { return (x + 1.0f) * 0.5f * last; }

VOLKIT_FN PlaneAxis plane_axis(float x, int32_t size) {
  const float last = static_cast<float>(size - 1), texel = plane_texel(x, last);
  // NaN compares false: it becomes cell 0 and stays in the fraction.
  const float clamped = texel > 0.0f ? smaller(texel, last) : 0.0f;
  const int32_t cell = larger(smaller(int32_t(clamped), size - 2), 0);
  return {cell, x == x ? clamped - static_cast<float>(cell) : x};
}

// d(texel)/dx, 0 where the border holds the point.
VOLKIT_FN float plane_slope(float x, int64_t size) {
  const float last = static_cast<float>(size - 1), texel = plane_texel(x, last);
  return texel > 0.0f && texel < last ? 0.5f * last : 0.0f;
}

// One factor read at one point: the offset of its lower texel, the steps to the others, and where between them.
struct PlaneSpot {
  int64_t offset, step_u, step_v;
  float u, v;
};

VOLKIT_FN PlaneSpot plane_spot(const PlaneFactor& factor, int64_t channels, const float* position) {
  const PlaneAxis u = plane_axis(position[factor.axis_u], int32_t(factor.size_u));
  PlaneSpot spot{u.cell * channels, factor.size_u > 1 ? channels : 0, -1, u.fraction, 0.0f};
  if (factor.axis_v >= 0) {
    const PlaneAxis v = plane_axis(position[factor.axis_v], int32_t(factor.size_v));
    spot.offset += v.cell * factor.size_u * channels;
    spot.step_v = factor.size_v > 1 ? factor.size_u * channels : 0;
    spot.v = v.fraction;
  }
  return spot;
}

VOLKIT_FN bool plane_is_line(const PlaneSpot& spot) { return spot.step_v < 0; }

template <class T> VOLKIT_FN T plane_row(const float* at, int64_t step_u, float u) {
  return (1.0f - u) * get<T>(at) + u * get<T>(at + step_u);
}

template <class T> VOLKIT_FN T plane_read(const float* at, const PlaneSpot& spot) {
  const T low = plane_row<T>(at, spot.step_u, spot.u);
  if (plane_is_line(spot)) return low;
  return (1.0f - spot.v) * low + spot.v * plane_row<T>(at + spot.step_v, spot.step_u, spot.u);
}

template <class T> VOLKIT_FN T plane_slope_u(const float* at, const PlaneSpot& spot) {
  const T low = get<T>(at + spot.step_u) - get<T>(at);
  if (plane_is_line(spot)) return low;
  return (1.0f - spot.v) * low + spot.v * (get<T>(at + spot.step_v + spot.step_u) - get<T>(at + spot.step_v));
}

template <class T> VOLKIT_FN T plane_slope_v(const float* at, const PlaneSpot& spot) {
  return plane_row<T>(at + spot.step_v, spot.step_u, spot.u) - plane_row<T>(at, spot.step_u, spot.u);
}

// grad * product of the other factors of the term, for each factor in turn: others[k].
template <class T>
VOLKIT_FN void plane_others(const T* values, int factors, T grad, T* others) {
  T ahead = grad;
  for (int k = 0; k < factors; ++k) {
    others[k] = ahead;
    ahead *= values[k];
  }
  T behind = values[factors - 1];
  for (int k = factors - 2; k >= 0; --k) {
    others[k] *= behind;
    behind *= values[k];
  }
}

VOLKIT_FN const float* plane_data(const PlaneFactor& factor, const PlaneSpot& spot) {
  return reinterpret_cast<const float*>(factor.data) + spot.offset;
}

VOLKIT_FN float* plane_grad(const PlaneFactor& factor, const PlaneSpot& spot) {
  return reinterpret_cast<float*>(factor.grad) + spot.offset;
}

}  // namespace volkit::VOLKIT_ISA
