// Planes and lines on a GPU: one thread per point and channel of a term (neighbouring threads, neighbouring words of a
// texel), one launch per term; one thread per point for positions. Gradients of factors are added by atomics, so their
// last bits depend on the order.
#include "volkit/cuda.h"
#include "volkit/plane_sample.h"

namespace volkit::cuda {
namespace {

// A term with its factors by value: the tables lie in host memory.
struct TermTask {
  PlaneTask task;
  PlaneTerm term;
  PlaneFactor factors[kPlaneFactors];
};

__device__ float output_grad(const PlaneTask& task, int64_t point, int64_t feature) {
  return task.reduce ? task.grad[point] : task.grad[point * task.features + feature];
}

__device__ void read_all(const TermTask& given, int64_t point, int64_t channel, PlaneSpot* spots, float* values) {
  for (int k = 0; k < given.term.factors; ++k) {
    const PlaneFactor& factor = given.factors[k];
    spots[k] = plane_spot(factor, given.term.channels, given.task.positions + point * given.task.axes);
    values[k] = plane_read<float>(plane_data(factor, spots[k]) + channel, spots[k]);
  }
}

__device__ float read_product(const TermTask& given, int64_t point, int64_t channel) {
  float product = 1.0f;
  for (int k = 0; k < given.term.factors; ++k) {
    const PlaneFactor& factor = given.factors[k];
    const PlaneSpot spot = plane_spot(factor, given.term.channels, given.task.positions + point * given.task.axes);
    product *= plane_read<float>(plane_data(factor, spot) + channel, spot);
  }
  return product;
}

__global__ void forward_kernel(const TermTask given) {
  const int64_t at = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= given.task.points * given.term.channels) return;
  const int64_t point = at / given.term.channels, channel = at % given.term.channels;
  given.task.output[point * given.task.features + given.term.feature + channel] = read_product(given, point, channel);
}

// One thread per point here: terms are launched one after another, so the sum needs no atomics.
__global__ void reduce_kernel(const TermTask given) {
  const int64_t point = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (point >= given.task.points) return;
  float total = given.term.feature == 0 ? 0.0f : given.task.output[point];
  for (int64_t channel = 0; channel < given.term.channels; ++channel) total += read_product(given, point, channel);
  given.task.output[point] = total;
}

__device__ void add_row(float* at, int64_t step_u, float u, float grad) {
  atomicAdd(at, (1.0f - u) * grad);
  atomicAdd(at + step_u, u * grad);
}

__global__ void factor_grad_kernel(const TermTask given) {
  const int64_t at = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= given.task.points * given.term.channels) return;
  const int64_t point = at / given.term.channels, channel = at % given.term.channels;
  const int factors = int(given.term.factors);
  PlaneSpot spots[kPlaneFactors];
  float values[kPlaneFactors], others[kPlaneFactors];
  read_all(given, point, channel, spots, values);
  plane_others(values, factors, output_grad(given.task, point, given.term.feature + channel), others);
  for (int k = 0; k < factors; ++k) {
    if (!given.factors[k].grad) continue;
    float* grad = plane_grad(given.factors[k], spots[k]) + channel;
    const PlaneSpot& spot = spots[k];
    if (plane_is_line(spot)) {
      add_row(grad, spot.step_u, spot.u, others[k]);
    } else {
      add_row(grad, spot.step_u, spot.u, (1.0f - spot.v) * others[k]);
      add_row(grad + spot.step_v, spot.step_u, spot.u, spot.v * others[k]);
    }
  }
}

__global__ void position_grad_kernel(const TermTask given) {
  const int64_t point = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (point >= given.task.points) return;
  const float* position = given.task.positions + point * given.task.axes;
  float* result = given.task.position_grad + point * given.task.axes;
  const int factors = int(given.term.factors);
  for (int64_t a = 0; a < given.task.axes && given.term.feature == 0; ++a) result[a] = 0.0f;
  PlaneSpot spots[kPlaneFactors];
  float values[kPlaneFactors], others[kPlaneFactors];
  for (int64_t channel = 0; channel < given.term.channels; ++channel) {
    read_all(given, point, channel, spots, values);
    plane_others(values, factors, output_grad(given.task, point, given.term.feature + channel), others);
    for (int k = 0; k < factors; ++k) {
      const PlaneFactor& factor = given.factors[k];
      const float* at = plane_data(factor, spots[k]) + channel;
      result[factor.axis_u] += plane_slope(position[factor.axis_u], factor.size_u) * others[k] *
                               plane_slope_u<float>(at, spots[k]);
      if (factor.axis_v < 0) continue;
      result[factor.axis_v] += plane_slope(position[factor.axis_v], factor.size_v) * others[k] *
                               plane_slope_v<float>(at, spots[k]);
    }
  }
}

template <class Launch> void for_terms(const PlaneTask& task, const char* op, const Launch& launch) {
  if (task.points == 0) return;
  for (int64_t t = 0; t < task.term_count; ++t) {
    TermTask given{task, task.terms[t], {}};
    for (int64_t k = 0; k < given.term.factors; ++k) given.factors[k] = task.factors[given.term.first + k];
    launch(given, task.points * given.term.channels);
    check_launch(op);
  }
}

}  // namespace

void plane_sample(const PlaneTask& task, uintptr_t stream) {
  for_terms(task, "plane_sample", [&](const TermTask& given, int64_t items) {
    if (task.reduce) {
      reduce_kernel<<<blocks_for(task.points, 128), 128, 0, stream_of(stream)>>>(given);
    } else {
      forward_kernel<<<blocks_for(items, 256), 256, 0, stream_of(stream)>>>(given);
    }
  });
}

void plane_sample_factor_grad(const PlaneTask& task, uintptr_t stream) {
  for_terms(task, "plane_sample_factor_grad", [&](const TermTask& given, int64_t items) {
    factor_grad_kernel<<<blocks_for(items, 256), 256, 0, stream_of(stream)>>>(given);
  });
}

void plane_sample_position_grad(const PlaneTask& task, uintptr_t stream) {
  for_terms(task, "plane_sample_position_grad", [&](const TermTask& given, int64_t) {
    position_grad_kernel<<<blocks_for(task.points, 128), 128, 0, stream_of(stream)>>>(given);
  });
}

}  // namespace volkit::cuda
