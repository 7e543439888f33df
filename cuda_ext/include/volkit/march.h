// The ray walk through an occupancy bitfield: one function for counting, writing and whatever integrates on the way; a
// CUDA thread walks one ray, a CPU thread as many at once as a vector has lanes.
//
// The intervals of a ray are fixed beforehand (see volkit/ops/march.py); the walk only decides which of them it must look
// at. It finds runs of kept intervals. Where the cell of a midpoint is empty, it goes on with the first midpoint that may
// lie outside the largest empty block known around it: `coarse` has one byte for each 8^3 cells (64 bytes of bits in
// Morton order), the binary logarithm of the side of the largest empty aligned block that holds them, 0 if none is empty.
#pragma once

#include "volkit/fields.h"
#include "volkit/masks.h"

namespace volkit {

constexpr int kMarchRuns = 8;  // runs of a ray that are kept from counting to writing; the rest are walked again

#define VOLKIT_MARCH_FIELDS(TENSOR, STRIDED, HOST, NUMBER)                                                         \
  TENSOR(const float, origins, rays * 3)  /* [ray, 3] */                                                           \
  TENSOR(const float, directions, rays * 3)  /* [ray, 3] */                                                        \
  TENSOR(const float, near, rays)  /* [ray] */                                                                     \
  TENSOR(const float, far, rays)  /* [ray] */                                                                      \
  TENSOR(const float, jitter, rays)  /* [ray] */                                                                   \
  TENSOR(const uint8_t, bits, resolution * resolution * resolution / 8)  /* aligned to 4 bytes */                  \
  NUMBER(int64_t, rays)                                                                                            \
  NUMBER(float, lower_x)                                                                                           \
  NUMBER(float, lower_y)                                                                                           \
  NUMBER(float, lower_z)                                                                                           \
  NUMBER(float, upper_x)                                                                                           \
  NUMBER(float, upper_y)                                                                                           \
  NUMBER(float, upper_z)                                                                                           \
  NUMBER(int64_t, contracted)                                                                                      \
  NUMBER(int64_t, resolution)                                                                                      \
  NUMBER(float, step)                                                                                              \
  NUMBER(float, cone)                                                                                              \
  NUMBER(float, rate)  /* log2(1 + cone) */                                                                        \
  NUMBER(int64_t, limit)                                                                                           \
  TENSOR(uint8_t, coarse, resolution * resolution * resolution / 512 + 3)  /* padded to 4 bytes */                 \
  TENSOR(int32_t, counts, rays)  /* [ray]: samples */                                                              \
  TENSOR(int32_t, runs, rays * kMarchRuns * 2)  /* [ray, kMarchRuns, 2]: first number and length of a run of kept intervals */ \
  TENSOR(const int64_t, offsets, rays + 1)  /* [ray + 1]: read when writing */                                     \
  NUMBER(int64_t, samples)                                                                                         \
  TENSOR(float, t0, samples)  /* [sample] */                                                                       \
  TENSOR(float, t1, samples)  /* [sample] */                                                                       \
  TENSOR(int32_t, ray, samples)  /* [sample] */
VOLKIT_TASK(MarchTask, VOLKIT_MARCH_FIELDS)

}  // namespace volkit

namespace volkit::VOLKIT_ISA {

constexpr float kMarchEnd = 4194304.0f;  // 2^22: beyond it float32 no longer tells neighbouring intervals apart
constexpr float kMarchNever = 3e38f;

// Rays in cells of the lattice (box) or in half extents about the centre (contracted).
template <class T> struct MarchRays {
  using Mask = typename LaneKind<T>::Mask;
  T origin[3], direction[3], inverse[3], never[3];  // never: far beyond everything where the direction is 0
  T near, far, jitter;
  T enter, leave;       // beyond these a midpoint is surely outside the box
  T bend, bend_number;  // where the cone takes over from the fixed step
  Mask good;
};

template <class T> VOLKIT_FN T magnitude(T x) { return larger_of(x, -x); }
template <class T> VOLKIT_FN auto finite(T x) { return magnitude(x) <= fill(3.4e38f, x); }

VOLKIT_FN float march_lower(const MarchTask& task, int i) {
  return i == 0 ? task.lower_x : i == 1 ? task.lower_y : task.lower_z;
}
VOLKIT_FN float march_upper(const MarchTask& task, int i) {
  return i == 0 ? task.upper_x : i == 1 ? task.upper_y : task.upper_z;
}

// Finds where the cone takes over, from near and jitter.
template <class T> VOLKIT_FN void march_pace(const MarchTask& task, MarchRays<T>& rays) {
  const T zero = fill(0.0f, T{});
  rays.bend_number = zero;
  rays.bend = rays.near;
  if (task.cone == 0.0f) return;
  const T ahead = (task.step / task.cone - rays.near) * (1.0f / task.step) - rays.jitter;
  const T number = to_float(to_int(smaller_of(larger_of(ahead, zero), fill(kMarchEnd, T{}))));
  rays.bend_number = choose(ahead > number, number + 1.0f, number);
  rays.bend = rays.near + rays.bend_number * task.step +
              rays.jitter * larger_of(task.cone * rays.near, fill(task.step, T{}));
}

// Fills in what follows from origin, direction, near, far and jitter in the task's own frame.
template <class T> VOLKIT_FN void march_prepare(const MarchTask& task, MarchRays<T>& rays) {
  const T zero = fill(0.0f, T{}), never = fill(kMarchNever, T{});
  const float size = static_cast<float>(task.resolution);
  rays.good = (rays.near < rays.far) & finite(rays.near) & finite(rays.jitter);
  rays.enter = rays.near;
  rays.leave = rays.far;
  for (int i = 0; i < 3; ++i) {
    const float lower = march_lower(task, i), upper = march_upper(task, i);
    rays.good = rays.good & finite(rays.origin[i]) & finite(rays.direction[i]);
    const float shift = task.contracted ? 0.5f * (lower + upper) : lower;
    const float scale = (task.contracted ? 2.0f : size) / (upper - lower);
    rays.origin[i] = (rays.origin[i] - shift) * scale;
    rays.direction[i] = rays.direction[i] * scale;
    const auto still = rays.direction[i] == zero;
    rays.inverse[i] = choose(still, zero, 1.0f / rays.direction[i]);
    rays.never[i] = choose(still, never, zero);
    if (task.contracted) continue;
    // One cell of slack: rounding takes nothing away, and the cell test decides anyhow.
    const T low = (-1.0f - rays.origin[i]) * rays.inverse[i], high = (size + 1.0f - rays.origin[i]) * rays.inverse[i];
    rays.enter = larger_of(rays.enter, smaller_of(low, high) - rays.never[i]);
    rays.leave = smaller_of(rays.leave, larger_of(low, high) + rays.never[i]);
  }
  rays.good = rays.good & (rays.enter < rays.leave);
  march_pace(task, rays);
}

// t of an interval's beginning, from its number; and the number (a fraction between two) from t.
template <class T> VOLKIT_FN T march_t(const MarchTask& task, const MarchRays<T>& rays, T number) {
  const T even = rays.near + (number + rays.jitter) * task.step;
  if (task.cone == 0.0f) return even;
  const T past = number - rays.bend_number;
  return choose(past >= fill(0.0f, T{}), rays.bend * exp2_of(larger_of(past, fill(0.0f, T{})) * task.rate), even);
}

template <class T> VOLKIT_FN T march_number(const MarchTask& task, const MarchRays<T>& rays, T t) {
  const T even = (t - rays.near) * (1.0f / task.step) - rays.jitter;
  if (task.cone == 0.0f) return even;
  const T ratio = larger_of(t / rays.bend, fill(1.0f, T{}));
  return choose(t > rays.bend, rays.bend_number + log2_of(ratio) * (1.0f / task.rate), even);
}

template <class U> VOLKIT_FN U spread_bits(U x) {
  x = (x | x << 16) & 0x030000FFu;
  x = (x | x << 8) & 0x0300F00Fu;
  x = (x | x << 4) & 0x030C30C3u;
  return (x | x << 2) & 0x09249249u;
}

// What is known about a cell: occupied, or the binary logarithms of the sides of an empty block around it.
template <class T> struct MarchBlock {
  typename LaneKind<T>::Mask occupied;
  typename LaneKind<T>::Word side_xy, side_z;
};

template <class T> VOLKIT_FN MarchBlock<T> march_look(const MarchTask& task, const typename LaneKind<T>::Int* at) {
  using Word = typename LaneKind<T>::Word;
  const Word cell = spread_bits((Word)at[0]) | spread_bits((Word)at[1]) << 1 | spread_bits((Word)at[2]) << 2;
  const Word block = cell >> 9, none = cell & 0u;
  const Word side = word_at(task.coarse, block >> 2) >> ((block & 3u) << 3) & 255u;
  // 32 cells: 4 x 4 x 2 of them in Morton order. Lanes in an empty block all ask for the first word.
  const Word word = word_at(task.bits, choose(side == none, cell >> 5, none));
  const Word byte = word >> (cell & 24u) & 255u;
  const auto some = byte != none, more = word != none;
  const Word within = choose(some, none, none + 1u);
  MarchBlock<T> found;
  found.occupied = (side == none) & ((byte >> (cell & 7u) & 1u) != none);
  found.side_xy = choose(side == none, choose(more, within, none + 2u), side);
  found.side_z = choose(side == none, within, side);
  return found;
}

// Looks at the midpoints t: the mask of occupied ones; for the others `until` is what midpoints may not pass unseen.
template <class T> VOLKIT_FN auto march_box(const MarchTask& task, const MarchRays<T>& rays, T t, T& until) {
  using Int = typename LaneKind<T>::Int;
  const T zero = fill(0.0f, T{}), size = fill(static_cast<float>(task.resolution), T{});
  T x[3];
  Int cell[3];
  for (int i = 0; i < 3; ++i) x[i] = rays.origin[i] + t * rays.direction[i];
  const auto inside = (x[0] >= zero) & (x[0] < size) & (x[1] >= zero) & (x[1] < size) & (x[2] >= zero) & (x[2] < size);
  for (int i = 0; i < 3; ++i) cell[i] = to_int(choose(inside, x[i], zero));
  const MarchBlock<T> block = march_look<T>(task, cell);
  T exit = fill(kMarchNever, T{});
  for (int i = 0; i < 3; ++i) {
    const Int side = (Int)(i == 2 ? block.side_z : block.side_xy);
    const Int low = cell[i] >> side, border = choose(rays.direction[i] > zero, low + 1, low) << side;
    exit = smaller_of(exit, (to_float(border) - rays.origin[i]) * rays.inverse[i] + rays.never[i]);
  }
  until = choose(inside, exit, t);
  return inside & block.occupied;
}

// The smallest of several positive fractions, without dividing more than once.
template <class T> struct MarchReach {
  T top, bottom;
  VOLKIT_FN void limit(T a, T b) {
    const auto closer = (b > b * 0.0f) & (a * bottom < top * b);
    top = choose(closer, a, top);
    bottom = choose(closer, b, bottom);
  }
};

// How far the rays surely stay in a block that is `margin` away (contracted, per axis), outside the box.
//
// With n = max|y| along an axis of which y' is s, and u = y / n: c = (2 - 1/n) u, and K = y' n - y s does not change along
// a ray, so u' = K / n^2 and |c'| <= (|s| + 2|K|) / n^2. n being linear, the integral over a length r is
// (|s| + 2|K|) r / (n (n + s r)), which is at most `margin` for r <= margin n^2 / (|s| + 2|K| - margin n s). This holds
// while the same axis is the largest and n > 1. Where it is not known, the stretch of the contraction (max norm) is: at
// most 4/n - 3/n^2 <= min(4/3, 4/n), so r speed <= max(3/4 d, n d / (4 + d)), d the smallest margin.
template <class T> VOLKIT_FN T march_reach(const MarchRays<T>& rays, const T* y, const T* margin, T norm) {
  const T zero = fill(0.0f, T{});
  T slope = zero, speed = fill(1e-30f, T{}), least = fill(4.0f, T{});
  for (int i = 0; i < 3; ++i) {
    const T outward = choose(y[i] < zero, -rays.direction[i], rays.direction[i]);
    slope = choose(magnitude(y[i]) >= norm, outward, slope);
    speed = larger_of(speed, magnitude(rays.direction[i]));
    least = smaller_of(least, margin[i]);
  }
  MarchReach<T> reach{fill(1e9f, T{}), fill(1.0f, T{})};
  reach.limit(norm - 1.0f, -slope);
  for (int i = 0; i < 3; ++i) {
    const T turn = magnitude(rays.direction[i] * norm - y[i] * slope);
    reach.limit(margin[i] * norm * norm, magnitude(slope) + 2.0f * turn - margin[i] * norm * slope);
    reach.limit(norm - y[i], rays.direction[i] - slope);
    reach.limit(norm + y[i], -rays.direction[i] - slope);
  }
  const T known = choose(norm < fill(1e6f, T{}), reach.top / reach.bottom, zero);
  return larger_of(known, larger_of(0.75f * least, norm * least / (4.0f + least)) / speed);
}

// The same as march_box in contracted space. Inside the box rays are straight and the block's border is found exactly.
template <class T> VOLKIT_FN auto march_contracted(const MarchTask& task, const MarchRays<T>& rays, T t, T& until) {
  using Int = typename LaneKind<T>::Int;
  const int32_t last = int32_t(task.resolution) - 1;
  const float per_cell = 4.0f / task.resolution;
  const T zero = fill(0.0f, T{}), one = fill(1.0f, T{});
  T y[3], c[3], margin[3], norm = zero;
  for (int i = 0; i < 3; ++i) {
    y[i] = rays.origin[i] + t * rays.direction[i];
    norm = larger_of(norm, magnitude(y[i]));
  }
  const auto known = norm < fill(1e30f, T{}), straight = norm < one;
  const T inverse = 1.0f / larger_of(norm, one), shrink = (2.0f - inverse) * inverse;
  Int cell[3];
  for (int i = 0; i < 3; ++i) {
    c[i] = choose(known, y[i] * shrink, zero);
    const Int number = to_int(larger_of((c[i] * 0.25f + 0.5f) * float(task.resolution), zero));
    cell[i] = choose(number > last, number * 0 + last, number);
  }
  const MarchBlock<T> block = march_look<T>(task, cell);
  T exit = fill(kMarchNever, T{});
  for (int i = 0; i < 3; ++i) {
    const Int side = (Int)(i == 2 ? block.side_z : block.side_xy);
    const Int from = (cell[i] >> side) << side, to = ((cell[i] >> side) + 1) << side;
    const T low = to_float(from) * per_cell - 2.0f, high = to_float(to) * per_cell - 2.0f;
    const T border = choose(rays.direction[i] > zero, smaller_of(high, one), larger_of(low, -one));
    exit = smaller_of(exit, (border - rays.origin[i]) * rays.inverse[i] + rays.never[i]);
    // The faces of the cube are infinity: nothing leaves there.
    margin[i] = choose(from > 0, larger_of(c[i] - low, zero), fill(4.0f, T{}));
    margin[i] = choose(to <= last, smaller_of(margin[i], larger_of(high - c[i], zero)), margin[i]);
  }
  until = choose(known, choose(straight, exit, t + 0.999f * march_reach(rays, y, margin, norm)), t);
  return known & block.occupied;
}

// Visits intervals in order: visit(kept, number) has the mask of rays whose interval `number` is kept, and gives the mask
// of rays that go on.
template <class T, class Visit>
VOLKIT_FN void march_walk(const MarchTask& task, const MarchRays<T>& rays, const Visit& visit) {
  const T zero = fill(0.0f, T{}), one = fill(1.0f, T{});
  T number = zero, target = rays.enter;
  auto alive = rays.good;
  while (true) {
    // `target` is rounded: a midpoint looked at twice costs little, one missed is an error.
    const T middle = smaller_of(target - 0.5f * task.step, target * (1.0f / (1.0f + 0.5f * task.cone)));
    const T goal = (task.cone == 0.0f ? target - 0.5f * task.step : middle) - 1e-6f * magnitude(target);
    const T ahead = smaller_of(march_number(task, rays, goal) - 0.01f, fill(kMarchEnd, T{}));
    number = choose(ahead > number, to_float(to_int(larger_of(ahead, zero))) + 1.0f, number);
    const T t = march_t(task, rays, number), end = march_t(task, rays, number + 1.0f);
    alive = alive & (t < rays.far) & (end > t) & (t <= rays.leave) & (number < fill(kMarchEnd, T{}));
    if (!lane_bits(alive)) return;
    const T t1 = smaller_of(end, rays.far);
    T until;
    auto kept = task.contracted ? march_contracted(task, rays, 0.5f * (t + t1), until)
                                : march_box(task, rays, 0.5f * (t + t1), until);
    kept = kept & alive;
    alive = alive & visit(kept, number);
    target = choose(kept, t, until);
    number = number + one;
  }
}

}  // namespace volkit::VOLKIT_ISA
