// Rasterising on a GPU: a warp per face, whose lanes share its pixels; the nearest face of a pixel is the largest key, of
// nearness first and then of the lowest number, so that the order of threads changes nothing. Gradients are added by
// atomics, so their last bits depend on the order.
#include "volkit/cuda.h"
#include "volkit/raster.h"

namespace volkit::cuda {
namespace {

constexpr int kThreads = 128, kWarp = 32;

__global__ void record_kernel(const RasterTask task) {
  const int64_t face = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (face >= task.faces) return;
  const RasterRecord record = raster_record(task, face);
  __builtin_memcpy(task.records + 16 * face, &record, sizeof(record));
}

__global__ void cover_kernel(const RasterTask task) {
  const int64_t face = (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) / kWarp;
  if (face >= task.faces) return;
  const RasterRecord record = read_raster_record(task, face);
  if (record.right < record.left) return;
  const int64_t wide = int64_t(record.right - record.left) + 1, high = int64_t(record.bottom - record.top) + 1;
  const float highest = 1.0f / task.near;
  for (int64_t k = threadIdx.x % kWarp; k < wide * high; k += kWarp) {
    const int64_t x = k % wide, y = k / wide;
    const RasterHere<float> here = raster_at(record, float(x), float(y));
    bool inside = here.nearness > 0.0f && here.nearness <= highest;
    for (int i = 0; i < 3; ++i) inside = inside && here.over[i] >= raster_slack(record, i);
    if (!inside) continue;
    // Nearness is positive, so that its bits rise as it does.
    const unsigned long long key =
        (static_cast<unsigned long long>(__float_as_uint(here.nearness)) << 32) | (0xffffffffu - unsigned(face));
    const int64_t pixel = (int64_t(record.top) + y) * task.width + int64_t(record.left) + x;
    atomicMax(reinterpret_cast<unsigned long long*>(task.keys) + pixel, key);
  }
}

__global__ void resolve_kernel(const RasterTask task) {
  const int64_t pixel = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (pixel >= task.width * task.height) return;
  const unsigned long long key = static_cast<unsigned long long>(task.keys[pixel]);
  const int32_t face = key ? static_cast<int32_t>(0xffffffffu - unsigned(key)) : -1;
  raster_resolve(task, pixel % task.width, pixel / task.width, face);
}

__global__ void pull_kernel(const RasterTask task) {
  const int64_t pixel = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (pixel >= task.width * task.height) return;
  const int32_t face = task.face[pixel];
  if (face < 0) return;
  float part[9];
  raster_pull(task, pixel, part);
  for (int i = 0; i < 9; ++i) atomicAdd(task.sums + 9 * int64_t(face) + i, part[i]);
}

__global__ void corners_kernel(const RasterTask task) {
  const int64_t face = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (face < task.faces) raster_corners_grad(task, face);
}

__global__ void edges_kernel(const RasterTask task) {
  const int64_t pixel = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (pixel < task.width * task.height) raster_edges_at(task, pixel % task.width, pixel / task.width);
}

}  // namespace

void raster(const RasterTask& task, uintptr_t on) {
  const cudaStream_t stream = stream_of(on);
  if (task.faces > 0) {
    record_kernel<<<blocks_for(task.faces, kThreads), kThreads, 0, stream>>>(task);
    cover_kernel<<<blocks_for(task.faces * kWarp, kThreads), kThreads, 0, stream>>>(task);
  }
  resolve_kernel<<<blocks_for(task.width * task.height, kThreads), kThreads, 0, stream>>>(task);
  check_launch("raster");
}

void raster_grad(const RasterTask& task, uintptr_t on) {
  const cudaStream_t stream = stream_of(on);
  if (task.faces == 0) return;
  pull_kernel<<<blocks_for(task.width * task.height, kThreads), kThreads, 0, stream>>>(task);
  corners_kernel<<<blocks_for(task.faces, kThreads), kThreads, 0, stream>>>(task);
  check_launch("raster_grad");
}

void raster_edges(const RasterTask& task, uintptr_t stream) {
  edges_kernel<<<blocks_for(task.width * task.height, kThreads), kThreads, 0, stream_of(stream)>>>(task);
  check_launch("raster_edges");
}

}  // namespace volkit::cuda
