// Which splats cover which tile, on a GPU: one radix sort puts splats in the order of depth, a second one, which keeps that
// order, puts their pairs in the order of tiles. In a file of its own because cub takes long to compile.
#include <cub/device/device_radix_sort.cuh>

#include "volkit/cuda.h"
#include "volkit/splat_blend.h"

namespace volkit::cuda {
namespace {

constexpr int kThreads = 128;

// Memory of the stream, given back when the stream gets there.
struct Scratch {
  void* at = nullptr;
  cudaStream_t stream;
  Scratch(size_t bytes, cudaStream_t stream) : stream(stream) { check(cudaMallocAsync(&at, bytes, stream), "splats"); }
  ~Scratch() { cudaFreeAsync(at, stream); }
};

template <class Key> void sort_pairs(const Key* keys, Key* sorted, const int32_t* values, int32_t* order, int64_t count,
                                     int bits, cudaStream_t stream) {
  size_t bytes = 0;
  check(cub::DeviceRadixSort::SortPairs(nullptr, bytes, keys, sorted, values, order, count, 0, bits, stream), "splats");
  Scratch scratch(bytes, stream);
  check(cub::DeviceRadixSort::SortPairs(scratch.at, bytes, keys, sorted, values, order, count, 0, bits, stream), "splats");
}

// Depths are positive, so that their bits rise as they do; what is not drawn goes last.
__global__ void key_kernel(const SplatBlendTask task, uint32_t* keys, int32_t* values) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= task.splats) return;
  const bool on = task.extents[2 * i] > 0.0f;
  keys[i] = on ? __float_as_uint(task.depths[i]) : 0xffffffffu;
  values[i] = static_cast<int32_t>(i);
  if (on) atomicAdd(reinterpret_cast<unsigned long long*>(task.drawn), 1ull);
}

__global__ void count_kernel(const SplatBlendTask task) {
  const int64_t k = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (k >= task.drawn_count) return;
  const int64_t i = task.order[k];
  put_record(task, i);
  int64_t pairs = 0;
  splat_tiles<float>(task, record_at<EllipseRecord>(task.records + i * splat_stride(task)), task.extents + 2 * i, [&](int64_t at) {
    atomicAdd(task.counts + at, 1);
    ++pairs;
  });
  task.slots[k + 1] = pairs;
}

__global__ void pair_kernel(const SplatBlendTask task, int32_t* tiles, int32_t* places) {
  const int64_t k = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (k >= task.drawn_count) return;
  const int64_t i = task.order[k];
  int64_t slot = task.slots[k];
  splat_tiles<float>(task, record_at<EllipseRecord>(task.records + i * splat_stride(task)), task.extents + 2 * i, [&](int64_t at) {
    tiles[slot] = static_cast<int32_t>(at);
    places[slot] = static_cast<int32_t>(i);
    ++slot;
  });
}

__global__ void number_kernel(int32_t* numbers, int64_t count) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count) numbers[i] = static_cast<int32_t>(i);
}

__global__ void join_kernel(int32_t* list, const int32_t* places, const int32_t* numbers, int64_t count) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  list[2 * i] = places[numbers[i]];
  list[2 * i + 1] = numbers[i];
}

}  // namespace

void splat_order(const SplatBlendTask& task, uintptr_t on) {
  if (task.splats == 0) return;
  const cudaStream_t stream = stream_of(on);
  auto* keys = reinterpret_cast<uint32_t*>(task.scratch);
  int32_t* values = task.scratch + 2 * task.splats;
  key_kernel<<<blocks_for(task.splats, kThreads), kThreads, 0, stream>>>(task, keys, values);
  check_launch("splat_order");
  sort_pairs(keys, keys + task.splats, values, task.order, task.splats, 32, stream);
}

void splat_count(const SplatBlendTask& task, uintptr_t stream) {
  if (task.drawn_count == 0) return;
  count_kernel<<<blocks_for(task.drawn_count, kThreads), kThreads, 0, stream_of(stream)>>>(task);
  check_launch("splat_count");
}

void splat_list(const SplatBlendTask& task, uintptr_t on) {
  const cudaStream_t stream = stream_of(on);
  int64_t pairs = 0;
  if (task.drawn_count == 0) return;
  check(cudaMemcpyAsync(&pairs, task.slots + task.drawn_count, sizeof(pairs), cudaMemcpyDeviceToHost, stream), "splats");
  check(cudaStreamSynchronize(stream), "splats");
  if (pairs == 0) return;
  Scratch scratch(5 * pairs * sizeof(int32_t), stream);
  int32_t* tiles = static_cast<int32_t*>(scratch.at);
  int32_t *sorted = tiles + pairs, *places = sorted + pairs, *numbers = places + pairs, *order = numbers + pairs;
  pair_kernel<<<blocks_for(task.drawn_count, kThreads), kThreads, 0, stream>>>(task, tiles, places);
  number_kernel<<<blocks_for(pairs, kThreads), kThreads, 0, stream>>>(numbers, pairs);
  check_launch("splat_list");
  sort_pairs(tiles, sorted, numbers, order, pairs, 32, stream);
  join_kernel<<<blocks_for(pairs, kThreads), kThreads, 0, stream>>>(task.list, places, order, pairs);
  check_launch("splat_list");
}

}  // namespace volkit::cuda
