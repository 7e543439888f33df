// The table's gradient on a CPU: a job is a level, or an aligned part of a hashed one, that one thread adds to. No
// atomics, and the same sums in the same order whatever the number of threads.
#include "volkit/gather.h"
#include "volkit/hash_encode.h"
#include "volkit/threads.h"

namespace volkit::VOLKIT_ISA {
namespace {

constexpr int kItems = 4 * kLanes;  // a vector of points, each with 4 pairs of corners that are neighbours in x

// What one vector of points adds: entry numbers, and values [pair][item][kWidth].
template <int F> struct Staged {
  alignas(64) uint32_t near[kItems], far[kItems];
  alignas(64) float near_value[F * kItems], far_value[F * kItems];
};

// Entries [first, first + count) of the level belong to this job.
struct Part {
  uint32_t first, count;
};

// Fills `staged`; bit i of the result tells whether item i has something to add.
template <int F, bool kDense>
VOLKIT_FN uint64_t stage(Staged<F>& staged, const HashLevel& level, const float* positions, const float* grad,
                         int64_t stride, Part part) {
  constexpr int kWidth = F == 1 ? 1 : 2;
  Lanes x, y, z;
  load_points(positions, x, y, z);
  const Place<Lanes> at = place(x, y, z, level);
  // Most samples of a trained scene are empty or hidden and get exactly zero; NaN is not zero and passes.
  LanesI alive{};
  for (int f = 0; f < F; ++f) alive |= load(grad + f * stride) != Lanes{};
  const uint64_t live = bits(alive);
  if (live == 0) return 0;
  const auto fx = spread<kWidth>(at.fx), fy = spread<kWidth>(at.fy), fz = spread<kWidth>(at.fz);
  uint64_t mask = 0;
  for (uint32_t row = 0; row < 4; ++row) {
    const LanesU base = row_of<Lanes, kDense>(at, row & 1, row >> 1, level.resolution);
    const LanesU near = entry_of<Lanes, kDense>(at, base, 0, level.size);
    store(staged.near + row * kLanes, near);
    store(staged.far + row * kLanes, entry_of<Lanes, kDense>(at, base, 1, level.size));
    const uint64_t mine = kDense ? live : live & bits((LanesI)((near - part.first) < part.count));
    mask |= mine << (row * kLanes);
  }
  for (int f = 0; f < F; f += kWidth) {
    const auto g = load_planar<kWidth>(grad + f * stride, stride);
    const auto back = g * fz, front = g - back;
    for (uint32_t row = 0; row < 4; ++row) {
      const auto plane = row >> 1 ? back : front;
      const auto line = row & 1 ? plane * fy : plane - plane * fy;
      const auto far = line * fx;
      store_rows(staged.far_value + f * kItems + row * kWidth * kLanes, far);
      store_rows(staged.near_value + f * kItems + row * kWidth * kLanes, line - far);
    }
  }
  return mask;
}

template <int F> VOLKIT_FN void add_item(const Staged<F>& staged, int item, float* table) {
  typedef float Two __attribute__((vector_size(8), aligned(4), may_alias));
  float* near = table + uint64_t(staged.near[item]) * F;
  float* far = table + uint64_t(staged.far[item]) * F;
  if constexpr (F == 1) {
    *near += staged.near_value[item];
    *far += staged.far_value[item];
  } else {
    for (int f = 0; f < F; f += 2) {
      *(Two*)(near + f) += *(const Two*)(staged.near_value + f * kItems + 2 * item);
      *(Two*)(far + f) += *(const Two*)(staged.far_value + f * kItems + 2 * item);
    }
  }
}

template <int F, bool kDense> void scatter(const HashScatterTask& task, int64_t l, Part part) {
  const HashLevel& level = task.levels[l];
  const float* grad = task.grad_out + l * F * task.points;
  float* table = task.grad_table + uint64_t(level.offset) * F;
  Staged<F> staged;
  int64_t i = 0;
  const auto add = [&](uint64_t mask) __attribute__((always_inline)) {
    for (; mask; mask &= mask - 1) add_item<F>(staged, __builtin_ctzll(mask), table);
  };
  for (; i + kLanes <= task.points; i += kLanes) {
    add(stage<F, kDense>(staged, level, task.positions + 3 * i, grad + i, task.points, part));
  }
  if (i < task.points) {
    // Padding has zero gradient, so it adds nothing.
    const int64_t count = task.points - i;
    float positions[3 * kLanes] = {}, planes[F * kLanes] = {};
    __builtin_memcpy(positions, task.positions + 3 * i, 3 * count * sizeof(float));
    for (int f = 0; f < F; ++f) {
      __builtin_memcpy(planes + f * kLanes, grad + f * task.points + i, count * sizeof(float));
    }
    add(stage<F, kDense>(staged, level, positions, planes, kLanes, part));
  }
}

// Both corners of a pair must fall into one part: the low bits that x can change must lie inside it.
uint32_t part_count(const HashLevel& level, uint32_t parts) {
  if (is_dense(level)) return 1;
  while (parts > 1 && level.size / parts <= level.resolution) parts /= 2;
  return parts;
}

void scatter_part(const HashScatterTask& task, int64_t l, uint32_t part, uint32_t parts) {
  const HashLevel& level = task.levels[l];
  const Part mine{level.size / parts * part, level.size / parts};
  const bool dense = is_dense(level);
  switch (task.features) {
    case 1:
      return dense ? scatter<1, true>(task, l, mine) : scatter<1, false>(task, l, mine);
    case 2:
      return dense ? scatter<2, true>(task, l, mine) : scatter<2, false>(task, l, mine);
    case 4:
      return dense ? scatter<4, true>(task, l, mine) : scatter<4, false>(task, l, mine);
    default:
      return dense ? scatter<8, true>(task, l, mine) : scatter<8, false>(task, l, mine);
  }
}

}  // namespace

void hash_scatter(const HashScatterTask& task) {
  uint32_t cuts = 1;
  while (int64_t(cuts) < job_cuts(task.level_count, task.points, 4096)) cuts *= 2;
#pragma omp parallel for schedule(dynamic, 1)
  for (int64_t job = 0; job < task.level_count * cuts; ++job) {
    const int64_t l = task.level_count - 1 - job / cuts;
    const uint32_t part = job % cuts, parts = part_count(task.levels[l], cuts);
    if (part < parts) scatter_part(task, l, part, parts);
  }
}

}  // namespace volkit::VOLKIT_ISA
