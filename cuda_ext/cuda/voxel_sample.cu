// Voxel reading on a GPU: one thread per point and channel (neighbouring threads, neighbouring words of a row), one per
// point for positions. The gradient of data is added by atomics, so its last bits depend on their order.
#include "volkit/cuda.h"
#include "volkit/voxel_sample.h"

namespace volkit::cuda {
namespace {

__global__ void forward_kernel(const VoxelTask task) {
  const int64_t at = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= task.points * task.channels) return;
  const int64_t channel = at % task.channels;
  const VoxelCorners corners = voxel_corners(task, at / task.channels);
  float sum = 0.0f;
  for (int k = 0; k < 8; ++k) {
    if (corners.row[k] < 0) continue;
    sum += voxel_weight(corners.axis, k) * task.data[corners.row[k] * task.channels + channel];
  }
  task.output[at] = sum;
}

__global__ void data_grad_kernel(const VoxelTask task) {
  const int64_t at = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= task.points * task.channels) return;
  const int64_t channel = at % task.channels;
  const VoxelCorners corners = voxel_corners(task, at / task.channels);
  for (int k = 0; k < 8; ++k) {
    if (corners.row[k] < 0) continue;
    atomicAdd(task.data_grad + corners.row[k] * task.channels + channel,
              voxel_weight(corners.axis, k) * task.grad[at]);
  }
}

__global__ void position_grad_kernel(const VoxelTask task) {
  const int64_t point = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (point >= task.points) return;
  const VoxelCorners corners = voxel_corners(task, point);
  float result[3] = {};
  for (int k = 0; k < 8; ++k) {
    if (corners.row[k] < 0) continue;
    float pull = 0.0f;
    for (int64_t c = 0; c < task.channels; ++c) {
      pull += task.grad[point * task.channels + c] * task.data[corners.row[k] * task.channels + c];
    }
    voxel_pull(corners.axis, k, pull, result);
  }
  for (int i = 0; i < 3; ++i) task.position_grad[3 * point + i] = result[i];
}

}  // namespace

void voxel_sample(const VoxelTask& task, uintptr_t stream) {
  const int64_t items = task.points * task.channels;
  if (items == 0) return;
  forward_kernel<<<blocks_for(items, 256), 256, 0, stream_of(stream)>>>(task);
  check_launch("voxel_sample");
}

void voxel_sample_data_grad(const VoxelTask& task, uintptr_t stream) {
  const int64_t items = task.points * task.channels;
  if (items == 0) return;
  data_grad_kernel<<<blocks_for(items, 256), 256, 0, stream_of(stream)>>>(task);
  check_launch("voxel_sample_data_grad");
}

void voxel_sample_position_grad(const VoxelTask& task, uintptr_t stream) {
  if (task.points == 0) return;
  position_grad_kernel<<<blocks_for(task.points, 128), 128, 0, stream_of(stream)>>>(task);
  check_launch("voxel_sample_position_grad");
}

}  // namespace volkit::cuda
