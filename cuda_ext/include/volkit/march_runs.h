// What counting a ray's samples leaves for writing them: runs of kept intervals. A run is written from its first number
// alone, so that the second pass need not look at the lattice again.
#pragma once

#include "volkit/march.h"

#if defined(__CUDACC__)
#define VOLKIT_ONCE __device__ __noinline__
#else
#define VOLKIT_ONCE __attribute__((noinline))
#endif

namespace volkit::VOLKIT_ISA {

// Reads the rays `first`, `first` + 1, ...; lanes behind the last ray repeat it and are not good.
template <class T> VOLKIT_FN void march_load(const MarchTask& task, int64_t first, MarchRays<T>& rays) {
  for (int i = 0; i < LaneKind<T>::count; ++i) {
    const int64_t ray = smaller<int64_t>(first + i, task.rays - 1);
    for (int axis = 0; axis < 3; ++axis) {
      set_lane(rays.origin[axis], i, task.origins[3 * ray + axis]);
      set_lane(rays.direction[axis], i, task.directions[3 * ray + axis]);
    }
    set_lane(rays.near, i, task.near[ray]);
    set_lane(rays.far, i, first + i < task.rays ? task.far[ray] : -kMarchNever);
    set_lane(rays.jitter, i, task.jitter[ray]);
  }
  march_prepare(task, rays);
}

// Walks the rays `first`, `first` + 1, ... and stores the runs number `skip` to `skip` + kMarchRuns - 1 of each at `runs`
// [ray, kMarchRuns, 2], and its samples at `counts` if not null. Compiled once: a second copy might round otherwise and
// find other samples than were counted.
template <class T>
VOLKIT_ONCE void march_find_runs(const MarchTask& task, int64_t first, int32_t skip, int32_t* runs, int32_t* counts) {
  MarchRays<T> rays;
  march_load(task, first, rays);
  const T zero = fill(0.0f, T{}), limit = fill(static_cast<float>(task.limit), T{});
  int32_t place[LaneKind<T>::count] = {};  // runs begun
  T count = zero, length = zero;
  const auto finish = [&](uint32_t stopped) {
    for (int i = 0; stopped; ++i, stopped >>= 1) {
      const int32_t slot = place[i] - 1 - skip;
      if ((stopped & 1) && slot >= 0 && slot < kMarchRuns) {
        runs[2 * (i * kMarchRuns + slot) + 1] = int32_t(lane(length, i));
      }
    }
  };
  march_walk(task, rays, [&](auto kept, T number) {
    const auto running = length > zero;
    uint32_t begun = lane_bits(kept & (length == zero));
    const uint32_t stopped = lane_bits(running) & ~lane_bits(kept);
    if (stopped) finish(stopped);
    for (int i = 0; begun; ++i, begun >>= 1) {
      if (!(begun & 1)) continue;
      const int32_t slot = place[i]++ - skip;
      if (slot >= 0 && slot < kMarchRuns) runs[2 * (i * kMarchRuns + slot)] = int32_t(lane(number, i));
    }
    length = choose(kept, length + 1.0f, zero);
    count = choose(kept, count + 1.0f, count);
    return count < limit;
  });
  finish(lane_bits(length > zero));
  for (int i = 0; counts && i < LaneKind<T>::count && first + i < task.rays; ++i) counts[i] = int32_t(lane(count, i));
}

VOLKIT_FN void march_store(float* to, float x, int64_t) { *to = x; }
#if !defined(__CUDACC__)
VOLKIT_FN void march_store(float* to, Lanes x, int64_t count) {
  if (count >= kLanes) {
    store(to, x);
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] = x[i];
  }
}
#endif

// Writes samples of one ray from its runs, at most up to `end`; gives the place behind the last one.
template <class T>
VOLKIT_FN int64_t march_write_runs(const MarchTask& task, int64_t ray, const int32_t* runs, int64_t at, int64_t end) {
  MarchRays<T> rays;
  rays.near = fill(task.near[ray], T{});
  rays.jitter = fill(task.jitter[ray], T{});
  march_pace(task, rays);
  const T far = fill(task.far[ray], T{});
  for (int slot = 0; slot < kMarchRuns && at < end; ++slot) {
    const int64_t length = smaller<int64_t>(runs[2 * slot + 1], end - at);
    for (int64_t i = 0; i < length; i += LaneKind<T>::count) {
      const T number = lane_numbers(T{}) + float(runs[2 * slot] + i);
      march_store(task.t0 + at + i, march_t(task, rays, number), length - i);
      march_store(task.t1 + at + i, smaller_of(march_t(task, rays, number + 1.0f), far), length - i);
    }
    for (int64_t i = 0; i < length; ++i) task.ray[at + i] = static_cast<int32_t>(ray);
    at += length;
  }
  return at;
}

// Writes the samples of the rays `first`, `first` + 1, ...; those with more runs than were kept are walked again.
template <class T> VOLKIT_FN void march_write_rays(const MarchTask& task, int64_t first) {
  constexpr int count = LaneKind<T>::count;
  int32_t more[2 * kMarchRuns * count];
  const int32_t* runs = task.runs + 2 * kMarchRuns * first;
  int64_t at[count];
  bool open = true;
  for (int32_t skip = kMarchRuns; open; skip += kMarchRuns) {
    open = false;
    for (int i = 0; i < count && first + i < task.rays; ++i) {
      const int64_t end = task.offsets[first + i + 1];
      if (skip == kMarchRuns) at[i] = task.offsets[first + i];
      if (at[i] < end) at[i] = march_write_runs<T>(task, first + i, runs + 2 * kMarchRuns * i, at[i], end);
      open = open || at[i] < end;
    }
    if (open) march_find_runs<T>(task, first, skip, more, nullptr);
    runs = more;
  }
}

// Whether the 8^3 cells of one entry of `coarse` are all empty; larger blocks follow from eight of these.
VOLKIT_FN bool march_block_empty(const MarchTask& task, int64_t block) {
  const uint32_t* words = reinterpret_cast<const uint32_t*>(task.bits + 64 * block);
  uint32_t any = 0;
  for (int i = 0; i < 16; ++i) any |= words[i];
  return any == 0;
}

}  // namespace volkit::VOLKIT_ISA
