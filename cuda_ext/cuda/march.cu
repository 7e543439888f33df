// The ray walk on a GPU: one thread per ray, once to count and once to write, with the same functor as on a CPU.
#include "volkit/cuda.h"
#include "volkit/march.h"

namespace volkit::cuda {
namespace {

__global__ void count_kernel(const MarchTask task) {
  const int64_t ray = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (ray >= task.rays) return;
  int32_t count = 0, first = 0;
  march_walk(task, ray, 0, [&](float, float, int32_t k) {
    if (count == 0) first = k;
    return ++count < task.limit;
  });
  task.counts[ray] = count;
  task.firsts[ray] = first;
}

__global__ void write_kernel(const MarchTask task) {
  const int64_t ray = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (ray >= task.rays) return;
  int64_t at = task.offsets[ray];
  const int64_t end = task.offsets[ray + 1];
  if (at == end) return;
  march_walk(task, ray, task.firsts[ray], [&](float t0, float t1, int32_t) {
    task.t0[at] = t0;
    task.t1[at] = t1;
    task.ray[at] = static_cast<int32_t>(ray);
    return ++at < end;
  });
}

}  // namespace

void march_count(const MarchTask& task, uintptr_t stream) {
  if (task.rays == 0) return;
  count_kernel<<<blocks_for(task.rays, 128), 128, 0, stream_of(stream)>>>(task);
  check_launch("march_count");
}

void march_write(const MarchTask& task, uintptr_t stream) {
  if (task.rays == 0) return;
  write_kernel<<<blocks_for(task.rays, 128), 128, 0, stream_of(stream)>>>(task);
  check_launch("march_write");
}

}  // namespace volkit::cuda
