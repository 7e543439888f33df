// Hash encoding on a CPU: level by level, because one level nearly fits a core's cache and the whole table does not
// (measured: 3 times the speed of all levels per point). Level and points are cut into jobs; nothing is shared but
// reads.
#include <cstdlib>

#include "volkit/gather.h"
#include "volkit/hash_encode.h"
#include "volkit/threads.h"

namespace volkit::VOLKIT_ISA {
namespace {

template <int F, bool kHalf, bool kDense> struct Encoder {
  using R = Rows<F, kHalf>;

  const HashLevel& level;
  const void* table;

  Encoder(const void* whole, const HashLevel& of)
      : level(of), table(static_cast<const char*>(whole) + uint64_t(of.offset) * F * (kHalf ? 2 : 4)) {}

  // The entries of the 8 corners, x fastest.
  VOLKIT_FN void corners(const Place<Lanes>& at, LanesU (&entry)[8]) const {
    for (uint32_t row = 0; row < 4; ++row) {
      const LanesU base = row_of<Lanes, kDense>(at, row & 1, row >> 1, level.resolution);
      entry[2 * row] = entry_of<Lanes, kDense>(at, base, 0, level.size);
      entry[2 * row + 1] = entry_of<Lanes, kDense>(at, base, 1, level.size);
    }
  }

  VOLKIT_FN void values(const float* positions, float* out, int64_t stride) const {
    Lanes x, y, z;
    load_points(positions, x, y, z);
    const Place<Lanes> at = place(x, y, z, level);
    LanesU entry[8];
    corners(at, entry);
    const auto fx = spread<R::kWidth>(at.fx), fy = spread<R::kWidth>(at.fy), fz = spread<R::kWidth>(at.fz);
    for (int pair = 0; pair < R::kPairs; ++pair) {
      decltype(R::read(table, entry[0], 0)) line[4];
      for (int row = 0; row < 4; ++row) {
        line[row] = lerp(R::read(table, entry[2 * row], pair), R::read(table, entry[2 * row + 1], pair), fx);
      }
      const auto value = lerp(lerp(line[0], line[1], fy), lerp(line[2], line[3], fy), fz);
      store_planar(out + pair * R::kWidth * stride, stride, value);
    }
  }

  // d(sum of grad * value) / d(position), added to three vectors.
  VOLKIT_FN void slopes(const float* positions, const float* grad, int64_t stride, float* sums,
                        int64_t sums_stride) const {
    Lanes x, y, z;
    load_points(positions, x, y, z);
    const Place<Lanes> at = place(x, y, z, level);
    LanesU entry[8];
    corners(at, entry);
    const auto fx = spread<R::kWidth>(at.fx), fy = spread<R::kWidth>(at.fy), fz = spread<R::kWidth>(at.fz);
    Lanes sum[3] = {};
    for (int pair = 0; pair < R::kPairs; ++pair) {
      decltype(R::read(table, entry[0], 0)) line[4], step[4];
      for (int row = 0; row < 4; ++row) {
        const auto a = R::read(table, entry[2 * row], pair);
        step[row] = R::read(table, entry[2 * row + 1], pair) - a;
        line[row] = a + fx * step[row];
      }
      const auto g = load_planar<R::kWidth>(grad + pair * R::kWidth * stride, stride);
      sum[0] += sum_features(g * lerp(lerp(step[0], step[1], fy), lerp(step[2], step[3], fy), fz));
      sum[1] += sum_features(g * lerp(line[1] - line[0], line[3] - line[2], fz));
      sum[2] += sum_features(g * (lerp(line[2], line[3], fy) - lerp(line[0], line[1], fy)));
    }
    const Lanes inside[3] = {x, y, z};
    for (int axis = 0; axis < 3; ++axis) {
      float* to = sums + axis * sums_stride;
      // Outside the box the position is clamped: no slope. NaN stays NaN through sum.
      const LanesI clamped = (inside[axis] < zero<Lanes>()) | (inside[axis] > one<Lanes>());
      store(to, load(to) + select(clamped, zero<Lanes>(), sum[axis] * level.scale));
    }
  }
};

// The last points, fewer than a vector, go through padded copies.
struct Tail {
  float positions[3 * kLanes] = {};
  float planes[8 * kLanes] = {};

  Tail(const float* from, int64_t count) { __builtin_memcpy(positions, from, 3 * count * sizeof(float)); }
  void read(const float* from, int64_t stride, int64_t features, int64_t count) {
    for (int64_t f = 0; f < features; ++f)
      __builtin_memcpy(planes + f * kLanes, from + f * stride, count * sizeof(float));
  }
  void write(float* to, int64_t stride, int64_t features, int64_t count) const {
    for (int64_t f = 0; f < features; ++f)
      __builtin_memcpy(to + f * stride, planes + f * kLanes, count * sizeof(float));
  }
};

template <int F, bool kHalf, bool kDense>
void encode_points(const HashEncodeTask& task, int64_t l, int64_t begin, int64_t end) {
  const Encoder<F, kHalf, kDense> encoder(task.table, task.levels[l]);
  float* out = task.out + l * F * task.points;
  int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) encoder.values(task.positions + 3 * i, out + i, task.points);
  if (i < end) {
    Tail tail(task.positions + 3 * i, end - i);
    encoder.values(tail.positions, tail.planes, kLanes);
    tail.write(out + i, task.points, F, end - i);
  }
}

template <int F, bool kHalf, bool kDense>
void add_slopes(const HashSlopesTask& task, int64_t l, int64_t begin, int64_t end, float* sums, int64_t stride) {
  const Encoder<F, kHalf, kDense> encoder(task.table, task.levels[l]);
  const float* grad = task.grad_out + l * F * task.points;
  int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) {
    encoder.slopes(task.positions + 3 * i, grad + i, task.points, sums + (i - begin), stride);
  }
  if (i < end) {
    Tail tail(task.positions + 3 * i, end - i);
    tail.read(grad + i, task.points, F, end - i);
    encoder.slopes(tail.positions, tail.planes, kLanes, sums + (i - begin), stride);
  }
}

// Calls with<F, kHalf, kDense>() for the values at hand.
template <int F, class With> void choose_half(bool half, bool dense, With with) {
  if (half) {
    dense ? with.template operator()<F, true, true>() : with.template operator()<F, true, false>();
  } else {
    dense ? with.template operator()<F, false, true>() : with.template operator()<F, false, false>();
  }
}

template <class With> void choose(int64_t features, bool half, bool dense, With with) {
  switch (features) {
    case 1:
      return choose_half<1>(half, dense, with);
    case 2:
      return choose_half<2>(half, dense, with);
    case 4:
      return choose_half<4>(half, dense, with);
    default:
      return choose_half<8>(half, dense, with);
  }
}

}  // namespace

void hash_encode(const HashEncodeTask& task) {
  // Enough jobs to fill the threads; on few threads a job is a level, whose table then stays in the cache.
  const int64_t cuts = job_cuts(task.level_count, task.points, 4096);
#pragma omp parallel for schedule(dynamic, 1)
  for (int64_t job = 0; job < task.level_count * cuts; ++job) {
    const int64_t l = task.level_count - 1 - job / cuts, cut = job % cuts;  // large levels first
    const int64_t begin = cut_at(task.points, cut, cuts), end = cut_at(task.points, cut + 1, cuts);
    choose(task.features, task.half, is_dense(task.levels[l]),
           [&]<int F, bool kHalf, bool kDense>() { encode_points<F, kHalf, kDense>(task, l, begin, end); });
  }
}

void hash_slopes(const HashSlopesTask& task) {
  // Long pieces, so that a level's table is read often while it is in the cache; short enough that the sums stay there
  // too.
  const int64_t cuts = larger(job_cuts(1, task.points, 4096), task.points / 32768);
#pragma omp parallel for schedule(dynamic, 1)
  for (int64_t cut = 0; cut < cuts; ++cut) {
    const int64_t begin = cut_at(task.points, cut, cuts), end = cut_at(task.points, cut + 1, cuts);
    const int64_t stride = (end - begin + kLanes - 1) / kLanes * kLanes;
    float* sums = static_cast<float*>(std::calloc(3 * stride, sizeof(float)));
    for (int64_t l = 0; l < task.level_count; ++l) {
      choose(task.features, task.half, is_dense(task.levels[l]), [&]<int F, bool kHalf, bool kDense>() {
        add_slopes<F, kHalf, kDense>(task, l, begin, end, sums, stride);
      });
    }
    for (int64_t i = begin; i < end; ++i) {
      for (int axis = 0; axis < 3; ++axis) task.grad_positions[3 * i + axis] = sums[axis * stride + i - begin];
    }
    std::free(sums);
  }
}

}  // namespace volkit::VOLKIT_ISA
