// Compositing on a GPU: one thread per ray, twice over its samples forward, once forward and once back for the gradient.
// Memory per thread: a few sums; the sums of channels are gathered in the output row itself.
#include "volkit/composite.h"
#include "volkit/cuda.h"

namespace volkit::cuda {
namespace {

__device__ float tau_of(const CompositeTask& task, int64_t i) {
  return task.density[i] * (task.t1[i] - task.t0[i]);
}

__global__ void forward_kernel(const CompositeTask task) {
  const int64_t ray = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (ray >= task.rays) return;
  const int64_t begin = task.offsets[ray], end = task.offsets[ray + 1];
  float before = 0.0f, opacity = 0.0f, depth = 0.0f;
  for (int64_t i = begin; i < end; ++i) {
    const float tau = tau_of(task, i), weight = composite_weight(before, tau, task.stop);
    task.weights[i] = weight;
    opacity += weight;
    depth += weight * 0.5f * (task.t0[i] + task.t1[i]);
    before += tau;
  }
  task.opacity[ray] = opacity;
  task.depth[ray] = depth;
  for (int64_t c = 0; c < task.channel_count; ++c) {
    float sum = 0.0f;
    for (int64_t i = begin; i < end; ++i) {
      sum += task.weights[i] * task.channels[i * task.sample_stride + c * task.channel_stride];
    }
    task.sums[ray * task.channel_count + c] = sum;
  }
}

__device__ float weight_grad(const CompositeTask& task, int64_t ray, int64_t i) {
  float q = task.opacity_grad ? task.opacity_grad[ray] : 0.0f;
  if (task.depth_grad) q += task.depth_grad[ray] * 0.5f * (task.t0[i] + task.t1[i]);
  if (task.weights_grad) q += task.weights_grad[i];
  if (!task.sums_grad) return q;
  for (int64_t c = 0; c < task.channel_count; ++c) {
    const float grad = task.sums_grad[ray * task.channel_count + c];
    q += grad * task.channels[i * task.sample_stride + c * task.channel_stride];
    if (task.channels_grad) {
      task.channels_grad[i * task.grad_sample_stride + c * task.grad_channel_stride] = task.weights[i] * grad;
    }
  }
  return q;
}

__global__ void backward_kernel(const CompositeTask task) {
  const int64_t ray = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (ray >= task.rays) return;
  const int64_t begin = task.offsets[ray], end = task.offsets[ray + 1];
  float before = 0.0f, behind = 0.0f;
  for (int64_t i = begin; i < end; ++i) {
    const float tau = tau_of(task, i), q = weight_grad(task, ray, i);
    task.scratch[i] = q;
    task.density_grad[i] = composite_own_grad(before, tau, task.stop, q);
    before += tau;
  }
  for (int64_t i = end - 1; i >= begin; --i) {
    task.density_grad[i] = (task.density_grad[i] - behind) * (task.t1[i] - task.t0[i]);
    behind += task.weights[i] * task.scratch[i];
  }
}

}  // namespace

void composite(const CompositeTask& task, uintptr_t stream) {
  if (task.rays == 0) return;
  forward_kernel<<<blocks_for(task.rays, 128), 128, 0, stream_of(stream)>>>(task);
  check_launch("composite");
}

void composite_grad(const CompositeTask& task, uintptr_t stream) {
  if (task.rays == 0) return;
  backward_kernel<<<blocks_for(task.rays, 128), 128, 0, stream_of(stream)>>>(task);
  check_launch("composite_grad");
}

}  // namespace volkit::cuda
