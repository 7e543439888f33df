// Voxel reading on a CPU. Forward and the gradient of positions are shared out by points. The gradient of data is shared
// out by rows: corners are looked up once, by points, then every thread goes over all of them and adds to its own rows, so
// that there are no atomics and the order of additions does not depend on the number of threads.
#include <omp.h>

#include "volkit/channels.h"
#include "volkit/voxel_sample.h"

namespace volkit::VOLKIT_ISA {
namespace {

constexpr int64_t kBlock = 16;  // points whose rows are fetched ahead together
constexpr int64_t kBins = 1024;

VOLKIT_FN void fetch_row(const VoxelTask& task, const float* rows, int32_t row) {
  const float* at = rows + row * task.channels;
  for (int64_t c = 0; c < task.channels; c += 16) __builtin_prefetch(at + c);
  __builtin_prefetch(at + task.channels - 1);
}

void read_block(const VoxelTask& task, int64_t begin, int64_t end) {
  const float* at[kBlock][8];
  float weight[kBlock][8];
  int found[kBlock];
  for (int64_t p = begin; p < end; ++p) {
    const VoxelCorners corners = voxel_corners(task, p);
    int n = 0;
    for (int k = 0; k < 8; ++k) {
      at[p - begin][n] = task.data + corners.row[k] * task.channels;
      weight[p - begin][n] = voxel_weight(corners.axis, k);
      if (corners.row[k] >= 0) fetch_row(task, task.data, corners.row[k]);
      n += corners.row[k] >= 0;
    }
    found[p - begin] = n;
  }
  for (int64_t p = 0; p < end - begin; ++p) {
    float* output = task.output + (begin + p) * task.channels;
    for_channels(0, task.channels, [&](auto zero, int64_t c, int64_t) {
      using T = decltype(zero);
      T sum{};
      for (int k = 0; k < found[p]; ++k) sum += weight[p][k] * get<T>(at[p][k] + c);
      put(output + c, sum);
    });
  }
}

// Row borders that give each thread about the same number of corners, from a sample of the points.
int64_t share_of_rows(const VoxelTask& task, int64_t thread, int64_t threads) {
  int64_t counts[kBins] = {}, total = 0;
  const int64_t stride = larger<int64_t>(1, task.points / 4096);
  for (int64_t p = 0; p < task.points; p += stride) {
    for (int k = 0; k < 8; ++k) {
      const int64_t row = task.scratch[8 * p + k];
      if (row < 0) continue;
      ++counts[row * kBins / task.rows];
      ++total;
    }
  }
  int64_t bin = 0;
  for (int64_t seen = 0; bin < kBins && seen * threads < total * thread; ++bin) seen += counts[bin];
  return thread == threads ? task.rows : bin * task.rows / kBins;
}

VOLKIT_FN void add_point(const VoxelTask& task, int64_t point, int64_t low, int64_t high) {
  const int32_t* rows = task.scratch + 8 * point;
  int32_t mine = 0;
  for (int k = 0; k < 8; ++k) mine |= (rows[k] >= low && rows[k] < high) << k;
  if (!mine) return;
  const float* at = task.positions + 3 * point;
  const VoxelAxis axis[3] = {voxel_axis(at[0], task.size_x), voxel_axis(at[1], task.size_y),
                             voxel_axis(at[2], task.size_z)};
  const float* grad = task.grad + point * task.channels;
  for (; mine; mine &= mine - 1) {
    const int k = __builtin_ctz(mine);
    float* row = task.data_grad + rows[k] * task.channels;
    const float weight = voxel_weight(axis, k);
    for_channels(0, task.channels, [&](auto zero, int64_t c, int64_t skip) {
      using T = decltype(zero);
      put(row + c, get<T>(row + c) + weight * drop(get<T>(grad + c), skip));
    });
  }
}

}  // namespace

void voxel_sample(const VoxelTask& task) {
#pragma omp parallel for schedule(static) if (task.points > 1024)
  for (int64_t begin = 0; begin < task.points; begin += kBlock) {
    read_block(task, begin, smaller(begin + kBlock, task.points));
  }
}

void voxel_sample_data_grad(const VoxelTask& task) {
  if (task.rows == 0) return;
#pragma omp parallel if (task.points > 1024)
  {
#pragma omp for schedule(static)
    for (int64_t p = 0; p < task.points; ++p) {
      const VoxelCorners corners = voxel_corners(task, p);
      for (int k = 0; k < 8; ++k) task.scratch[8 * p + k] = corners.row[k];
    }
    const int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
    const int64_t low = share_of_rows(task, thread, threads), high = share_of_rows(task, thread + 1, threads);
    constexpr int64_t ahead = 16;
    for (int64_t p = 0; p < task.points; ++p) {
      for (int k = 0; k < 8 && p + ahead < task.points; ++k) {
        const int32_t row = task.scratch[8 * (p + ahead) + k];
        if (row >= low && row < high) fetch_row(task, task.data_grad, row);
      }
      add_point(task, p, low, high);
    }
  }
}

void voxel_sample_position_grad(const VoxelTask& task) {
#pragma omp parallel for schedule(static) if (task.points > 1024)
  for (int64_t p = 0; p < task.points; ++p) {
    const VoxelCorners corners = voxel_corners(task, p);
    const float* grad = task.grad + p * task.channels;
    float result[3] = {};
    for (int k = 0; k < 8; ++k) {
      if (corners.row[k] < 0) continue;
      const float* row = task.data + corners.row[k] * task.channels;
      float pull = 0.0f;
      for_channels(0, task.channels, [&](auto zero, int64_t c, int64_t skip) {
        using T = decltype(zero);
        pull += sum(drop(get<T>(grad + c), skip) * get<T>(row + c));
      });
      voxel_pull(corners.axis, k, pull, result);
    }
    for (int i = 0; i < 3; ++i) task.position_grad[3 * p + i] = result[i];
  }
}

}  // namespace volkit::VOLKIT_ISA
