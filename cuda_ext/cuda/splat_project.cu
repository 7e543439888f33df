// Projection on a GPU: one thread per splat. Camera gradients are added up block by block in shared memory, so that their
// order is fixed.
#include "volkit/cuda.h"
#include "volkit/splat_ellipse.h"
#include "volkit/splat_surfel.h"

namespace volkit::cuda {
namespace {

constexpr int kThreads = 128;

template <int axes> __device__ Splat<float> read_splat(const SplatProjectTask& task, int64_t i) {
  Splat<float> s;
  for (int c = 0; c < 3; ++c) s.mean[c] = task.means[3 * i + c];
  for (int c = 0; c < 4; ++c) s.quaternion[c] = task.quaternions[4 * i + c];
  for (int c = 0; c < axes; ++c) s.log_scale[c] = task.log_scales[axes * i + c];
  s.logit = task.logits[i];
  return s;
}

struct Seen {
  Direction<float> direction;
  float inverse, basis[kHarmonics], colour[3];
};

__device__ Seen see(const SplatProjectTask& task, const Splat<float>& s, int64_t i) {
  Seen seen;
  const float* w = task.pose;
  float d[3];
  for (int j = 0; j < 3; ++j) d[j] = s.mean[j] + (w[j] * w[3] + w[4 + j] * w[7] + w[8 + j] * w[11]);
  seen.inverse = 1.0f / larger_of(square_root(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]), 1e-12f);
  seen.direction = {d[0] * seen.inverse, d[1] * seen.inverse, d[2] * seen.inverse};
  harmonics(harmonics_degree(task.rest), seen.direction.x, seen.direction.y, seen.direction.z, seen.basis);
  for (int c = 0; c < 3; ++c) {
    seen.colour[c] = seen.basis[0] * task.sh_dc[3 * i + c] + 0.5f;
    for (int64_t k = 0; k < task.rest; ++k) {
      seen.colour[c] += seen.basis[k + 1] * task.sh_rest[3 * (task.rest * i + k) + c];
    }
  }
  return seen;
}

template <class Shape> __global__ void project_kernel(const SplatProjectTask task) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= task.splats) return;
  const Splat<float> s = read_splat<Shape::kAxes>(task, i);
  Shape p;
  splat_see(task, s, p);
  float ex, ey, shape[Shape::kColumns];
  const bool on = splat_extents(task, p, ex, ey);
  const Seen seen = see(task, s, i);
  splat_shape(p, shape);
  const auto put = [&](float* to, float value) { *to = on ? value : 0.0f; };
  put(task.means2d + 2 * i, p.x);
  put(task.means2d + 2 * i + 1, p.y);
  for (int c = 0; c < Shape::kColumns; ++c) put(task.shapes + Shape::kColumns * i + c, shape[c]);
  put(task.opacities + i, p.opacity);
  put(task.depths + i, p.local[2]);
  for (int c = 0; c < 3; ++c) put(task.colours + 3 * i + c, larger_of(seen.colour[c], 0.0f));
  put(task.extents + 2 * i, ex);
  put(task.extents + 2 * i + 1, ey);
}

__device__ void pull_colour(const SplatProjectTask& task, const Splat<float>& s, int64_t i, bool on, SplatGrad<float>& g) {
  const Seen seen = see(task, s, i);
  float arrived[3], pull[kHarmonics] = {};
  for (int c = 0; c < 3; ++c) {
    arrived[c] = on && seen.colour[c] > 0.0f ? task.colours_grad[3 * i + c] : 0.0f;
    task.sh_dc_grad[3 * i + c] = seen.basis[0] * arrived[c];
  }
  for (int64_t k = 0; k < task.rest; ++k) {
    for (int c = 0; c < 3; ++c) {
      const int64_t at = 3 * (task.rest * i + k) + c;
      pull[k + 1] += arrived[c] * task.sh_rest[at];
      task.sh_rest_grad[at] = seen.basis[k + 1] * arrived[c];
    }
  }
  const Direction<float> d = seen.direction;
  const Direction<float> v = harmonics_grad(harmonics_degree(task.rest), d.x, d.y, d.z, pull);
  const float along = v.x * d.x + v.y * d.y + v.z * d.z;
  g.direction[0] = (v.x - along * d.x) * seen.inverse;
  g.direction[1] = (v.y - along * d.y) * seen.inverse;
  g.direction[2] = (v.z - along * d.z) * seen.inverse;
}

template <class Shape> __device__ void pull_splat(const SplatProjectTask& task, int64_t i, float* sums) {
  const Splat<float> s = read_splat<Shape::kAxes>(task, i);
  Shape p;
  splat_see(task, s, p);
  float ex, ey, mean_grad[2], shape[Shape::kColumns];
  const bool on = splat_extents(task, p, ex, ey);
  for (int c = 0; c < 2; ++c) mean_grad[c] = on ? task.means2d_grad[2 * i + c] : 0.0f;
  for (int c = 0; c < Shape::kColumns; ++c) shape[c] = on ? task.shapes_grad[Shape::kColumns * i + c] : 0.0f;
  SplatGrad<float> g;
  splat_pull(task, p, mean_grad, shape, on ? task.opacities_grad[i] : 0.0f, on ? task.depths_grad[i] : 0.0f, g);
  pull_colour(task, s, i, on, g);
  for (int c = 0; c < 3; ++c) task.means_grad[3 * i + c] = on ? g.mean[c] + g.direction[c] : 0.0f;
  for (int c = 0; c < 4; ++c) task.quaternions_grad[4 * i + c] = on ? g.quaternion[c] : 0.0f;
  for (int c = 0; c < Shape::kAxes; ++c) task.log_scales_grad[Shape::kAxes * i + c] = on ? g.log_scale[c] : 0.0f;
  task.logits_grad[i] = on ? g.logit : 0.0f;
  if (!on) return;
  for (int k = 0; k < 3; ++k) {
    for (int j = 0; j < 3; ++j) sums[3 * k + j] += g.rotation[3 * k + j] + g.local[k] * s.mean[j];
    sums[9 + k] += g.local[k];
    sums[12 + k] -= g.direction[k];
  }
}

// One block of threads per block of splats.
template <class Shape> __global__ void pull_kernel(const SplatProjectTask task) {
  __shared__ float shared[kThreads];
  const int64_t begin = int64_t(blockIdx.x) * kSplatBlock;
  const int64_t end = smaller<int64_t>(task.splats, begin + kSplatBlock);
  float sums[kSplatSums] = {};
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) pull_splat<Shape>(task, i, sums);
  if (!task.camera_sums) return;
  for (int k = 0; k < kSplatSums; ++k) {
    shared[threadIdx.x] = sums[k];
    for (int half = kThreads / 2; half > 0; half /= 2) {
      __syncthreads();
      if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    }
    if (threadIdx.x == 0) task.camera_sums[int64_t(blockIdx.x) * kSplatSums + k] = shared[0];
    __syncthreads();
  }
}

}  // namespace

void splat_project(const SplatProjectTask& task, uintptr_t stream) {
  if (task.splats == 0) return;
  const auto kernel = task.axes == 2 ? project_kernel<Surfel<float>> : project_kernel<Ellipse<float>>;
  kernel<<<blocks_for(task.splats, kThreads), kThreads, 0, stream_of(stream)>>>(task);
  check_launch("splat_project");
}

void splat_project_grad(const SplatProjectTask& task, uintptr_t stream) {
  if (task.splats == 0) return;
  const auto kernel = task.axes == 2 ? pull_kernel<Surfel<float>> : pull_kernel<Ellipse<float>>;
  kernel<<<blocks_for(task.splats, kSplatBlock), kThreads, 0, stream_of(stream)>>>(task);
  check_launch("splat_project_grad");
}

}  // namespace volkit::cuda
