// Adam on a GPU: one thread per row (touched_only has to see the whole row), rows of at most a few features.
#include "volkit/adam.h"
#include "volkit/cuda.h"

namespace volkit::cuda {
namespace {

__global__ void adam_kernel(const AdamTask task) {
  const int64_t row = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (row >= task.rows) return;
  const int64_t begin = row * task.features, end = begin + task.features;
  bool touched = !task.touched_only;
  for (int64_t at = begin; at < end && !touched; ++at) touched = task.grad[at] != 0.0f;
  if (!touched) return;
  for (int64_t at = begin; at < end; ++at) {
    adam_update(task, task.param[at], task.grad[at], task.first[at], task.second[at]);
    task.grad[at] = 0.0f;
  }
}

}  // namespace

void adam(const AdamTask& given, uintptr_t stream) {
  AdamTask task = given;
  if (!task.touched_only) {
    // Element-wise: rows do not matter, and neighbouring threads then touch neighbouring words.
    task.rows *= task.features;
    task.features = 1;
  }
  if (task.rows == 0) return;
  adam_kernel<<<blocks_for(task.rows, 256), 256, 0, stream_of(stream)>>>(task);
  check_launch("adam");
}

}  // namespace volkit::cuda
