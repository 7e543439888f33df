// The ray walk on a GPU: one thread per ray, once to count and find runs, once to write them, with the functions of the CPU.
#include "volkit/cuda.h"
#include "volkit/march_runs.h"

namespace volkit::cuda {
namespace {

__global__ void flag_kernel(const MarchTask task, int64_t blocks) {
  const int64_t block = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (block < blocks) task.coarse[block] = march_block_empty(task, block) ? 3 : 0;
}

// One thread per group of `side` blocks, whose eight parts of the level below have been looked at before.
__global__ void join_kernel(const MarchTask task, int64_t blocks, int64_t side, int level) {
  const int64_t first = (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) * side;
  if (first >= blocks) return;
  for (int64_t part = 0; part < 8; ++part) {
    if (task.coarse[first + part * (side / 8)] != level - 1) return;
  }
  for (int64_t i = 0; i < side; ++i) task.coarse[first + i] = static_cast<uint8_t>(level);
}

__global__ void count_kernel(const MarchTask task) {
  const int64_t ray = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (ray >= task.rays) return;
  march_find_runs<float>(task, ray, 0, task.runs + 2 * kMarchRuns * ray, task.counts + ray);
}

__global__ void write_kernel(const MarchTask task) {
  const int64_t ray = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (ray < task.rays) march_write_rays<float>(task, ray);
}

}  // namespace

void march_count(const MarchTask& task, uintptr_t stream) {
  if (task.rays == 0) return;
  const int64_t blocks = task.resolution * task.resolution * task.resolution / 512;
  flag_kernel<<<blocks_for(blocks, 128), 128, 0, stream_of(stream)>>>(task, blocks);
  int level = 4;
  for (int64_t side = 8; side <= blocks; side *= 8, ++level) {
    join_kernel<<<blocks_for(blocks / side, 64), 64, 0, stream_of(stream)>>>(task, blocks, side, level);
  }
  count_kernel<<<blocks_for(task.rays, 128), 128, 0, stream_of(stream)>>>(task);
  check_launch("march_count");
}

void march_write(const MarchTask& task, uintptr_t stream) {
  if (task.rays == 0) return;
  write_kernel<<<blocks_for(task.rays, 128), 128, 0, stream_of(stream)>>>(task);
  check_launch("march_write");
}

}  // namespace volkit::cuda
