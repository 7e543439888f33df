// Hash encoding on a GPU: a thread per point and level (the grid's second axis), so that a level's blocks run together
// and its table stays in L2; planar rows make every read and write of values coalesced. Position gradients: a thread
// per point.
#include "volkit/cuda.h"
#include "volkit/hash_encode.h"

#include <cuda_fp16.h>

namespace volkit::cuda {
namespace {

constexpr int kThreads = 256;

struct Levels {
  HashLevel at[kMaxLevels];
};

Levels copy_levels(const HashLevel* from, int64_t count) {
  if (count > kMaxLevels) throw std::invalid_argument("volkit: hash_encode: more than 32 levels");
  Levels levels{};
  for (int64_t l = 0; l < count; ++l) levels.at[l] = from[l];
  return levels;
}

struct Corner {
  uint32_t entry;
  float weight;
};

__device__ Place<float> place_of(const float* positions, int64_t point, const HashLevel& level) {
  const float* p = positions + 3 * point;
  return place(p[0], p[1], p[2], level);
}

__device__ uint32_t entry_at(const Place<float>& at, int corner, const HashLevel& level) {
  const uint32_t dx = corner & 1, dy = corner >> 1 & 1, dz = corner >> 2;
  if (is_dense(level)) {
    return entry_of<float, true>(at, row_of<float, true>(at, dy, dz, level.resolution), dx, level.size);
  }
  return entry_of<float, false>(at, row_of<float, false>(at, dy, dz, level.resolution), dx, level.size);
}

__device__ Corner corner_of(const Place<float>& at, int corner, const HashLevel& level) {
  const float wx = corner & 1 ? at.fx : 1.0f - at.fx;
  const float wy = corner >> 1 & 1 ? at.fy : 1.0f - at.fy;
  const float wz = corner >> 2 ? at.fz : 1.0f - at.fz;
  return {level.offset + entry_at(at, corner, level), wx * wy * wz};
}

// A row of F features as one aligned read.
template <class T, int F> struct alignas(sizeof(T) * F) Row {
  T value[F];
};

template <class T, int F> __global__ void encode_kernel(const HashEncodeTask task, const Levels levels) {
  const int64_t point = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (point >= task.points) return;
  const HashLevel& level = levels.at[blockIdx.y];
  const Place<float> at = place_of(task.positions, point, level);
  float sum[F] = {};
  for (int c = 0; c < 8; ++c) {
    const Corner corner = corner_of(at, c, level);
    const Row<T, F> row = static_cast<const Row<T, F>*>(task.table)[corner.entry];
    for (int f = 0; f < F; ++f) sum[f] += corner.weight * float(row.value[f]);
  }
  for (int f = 0; f < F; ++f) task.out[(blockIdx.y * F + f) * task.points + point] = sum[f];
}

template <int F> __global__ void scatter_kernel(const HashScatterTask task, const Levels levels) {
  const int64_t point = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (point >= task.points) return;
  const HashLevel& level = levels.at[blockIdx.y];
  float grad[F];
  bool alive = false;
  for (int f = 0; f < F; ++f) {
    grad[f] = task.grad_out[(blockIdx.y * F + f) * task.points + point];
    alive |= grad[f] != 0.0f;
  }
  if (!alive) return;
  const Place<float> at = place_of(task.positions, point, level);
  for (int c = 0; c < 8; ++c) {
    const Corner corner = corner_of(at, c, level);
    float* to = task.grad_table + uint64_t(corner.entry) * F;
    if constexpr (F == 1) {
      atomicAdd(to, corner.weight * grad[0]);
    } else {
      for (int f = 0; f < F; f += 2) {
#if __CUDA_ARCH__ >= 900
        atomicAdd(reinterpret_cast<float2*>(to + f), make_float2(corner.weight * grad[f], corner.weight * grad[f + 1]));
#else
        atomicAdd(to + f, corner.weight * grad[f]);
        atomicAdd(to + f + 1, corner.weight * grad[f + 1]);
#endif
      }
    }
  }
}

template <class T, int F> __global__ void slopes_kernel(const HashSlopesTask task, const Levels levels) {
  const int64_t point = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (point >= task.points) return;
  float sum[3] = {};
  for (int64_t l = 0; l < task.level_count; ++l) {
    const HashLevel& level = levels.at[l];
    const Place<float> at = place_of(task.positions, point, level);
    const float fraction[3] = {at.fx, at.fy, at.fz};
    for (int c = 0; c < 8; ++c) {
      const Row<T, F> row = static_cast<const Row<T, F>*>(task.table)[level.offset + entry_at(at, c, level)];
      float dot = 0.0f;
      for (int f = 0; f < F; ++f) dot += task.grad_out[(l * F + f) * task.points + point] * float(row.value[f]);
      for (int axis = 0; axis < 3; ++axis) {
        float weight = c >> axis & 1 ? level.scale : -level.scale;
        for (int other = 0; other < 3; ++other) {
          if (other != axis) weight *= c >> other & 1 ? fraction[other] : 1.0f - fraction[other];
        }
        sum[axis] += weight * dot;
      }
    }
  }
  for (int axis = 0; axis < 3; ++axis) {
    const float x = task.positions[3 * point + axis];
    task.grad_positions[3 * point + axis] = x < 0.0f || x > 1.0f ? 0.0f : sum[axis];
  }
}

// Calls with(std::integral_constant<int, F>) for the features at hand.
template <class With> void for_features(int64_t features, With with) {
  switch (features) {
    case 1:
      return with(std::integral_constant<int, 1>{});
    case 2:
      return with(std::integral_constant<int, 2>{});
    case 4:
      return with(std::integral_constant<int, 4>{});
    default:
      return with(std::integral_constant<int, 8>{});
  }
}

}  // namespace

void hash_encode(const HashEncodeTask& task, uintptr_t stream) {
  if (task.points == 0) return;
  const Levels levels = copy_levels(task.levels, task.level_count);
  const dim3 grid(blocks_for(task.points, kThreads), unsigned(task.level_count));
  for_features(task.features, [&](auto f) {
    constexpr int F = decltype(f)::value;
    if (task.half) {
      encode_kernel<__half, F><<<grid, kThreads, 0, stream_of(stream)>>>(task, levels);
    } else {
      encode_kernel<float, F><<<grid, kThreads, 0, stream_of(stream)>>>(task, levels);
    }
  });
  check_launch("hash_encode");
}

// Atomics add in no fixed order: the last bits of the gradient differ from run to run.
void hash_scatter(const HashScatterTask& task, uintptr_t stream) {
  if (task.points == 0) return;
  const Levels levels = copy_levels(task.levels, task.level_count);
  const dim3 grid(blocks_for(task.points, kThreads), unsigned(task.level_count));
  for_features(task.features, [&](auto f) {
    scatter_kernel<decltype(f)::value><<<grid, kThreads, 0, stream_of(stream)>>>(task, levels);
  });
  check_launch("hash_scatter");
}

void hash_slopes(const HashSlopesTask& task, uintptr_t stream) {
  if (task.points == 0) return;
  const Levels levels = copy_levels(task.levels, task.level_count);
  const unsigned grid = blocks_for(task.points, kThreads);
  for_features(task.features, [&](auto f) {
    constexpr int F = decltype(f)::value;
    if (task.half) {
      slopes_kernel<__half, F><<<grid, kThreads, 0, stream_of(stream)>>>(task, levels);
    } else {
      slopes_kernel<float, F><<<grid, kThreads, 0, stream_of(stream)>>>(task, levels);
    }
  });
  check_launch("hash_slopes");
}

}  // namespace volkit::cuda
