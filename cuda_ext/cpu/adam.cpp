// Adam on a CPU: one sweep over four arrays, bound by memory. Untouched blocks of a touched_only sweep cost one read.
#include "volkit/adam.h"

namespace volkit::VOLKIT_ISA {
namespace {

VOLKIT_FN void update_lanes(const AdamTask& task, int64_t at) {
  Lanes grad = load(task.grad + at);
  Lanes param = load(task.param + at), first = load(task.first + at), second = load(task.second + at);
  adam_update(task, param, grad, first, second);
  store(task.param + at, param);
  store(task.first + at, first);
  store(task.second + at, second);
  store(task.grad + at, Lanes{});
}

VOLKIT_FN void update_one(const AdamTask& task, int64_t at) {
  adam_update(task, task.param[at], task.grad[at], task.first[at], task.second[at]);
  task.grad[at] = 0.0f;
}

VOLKIT_FN bool row_touched(const AdamTask& task, int64_t row) {
  for (int64_t f = 0; f < task.features; ++f) {
    if (task.grad[row * task.features + f] != 0.0f) return true;
  }
  return false;
}

// NaN counts as touched (it is not equal to zero), so a broken gradient shows instead of being skipped.
VOLKIT_FN bool lanes_touched(const float* grad) {
  const LanesI touched = load(grad) != Lanes{};
  int32_t any = 0;
  for (int i = 0; i < kLanes; ++i) any |= touched[i];
  return any != 0;
}

void sweep(const AdamTask& task, int64_t begin, int64_t end) {
  int64_t at = begin;
  for (; at + kLanes <= end; at += kLanes) update_lanes(task, at);
  for (; at < end; ++at) update_one(task, at);
}

void sweep_touched(const AdamTask& task, int64_t row_begin, int64_t row_end) {
  const int64_t features = task.features;
  const int64_t rows_per_block = larger<int64_t>(1, kLanes / features);
  for (int64_t row = row_begin; row < row_end; row += rows_per_block) {
    const int64_t stop = smaller(row + rows_per_block, row_end);
    const bool whole = (stop - row) * features == kLanes;
    if (whole && !lanes_touched(task.grad + row * features)) continue;
    for (int64_t r = row; r < stop; ++r) {
      if (row_touched(task, r)) {
        for (int64_t f = 0; f < features; ++f) update_one(task, r * features + f);
      }
    }
  }
}

}  // namespace

void adam(const AdamTask& task) {
  constexpr int64_t kChunk = 1 << 14;  // 4 arrays x 64 KiB: a thread's share of L2
  const int64_t rows_per_chunk = larger<int64_t>(1, kChunk / larger<int64_t>(1, task.features));
  const int64_t chunks = (task.rows + rows_per_chunk - 1) / rows_per_chunk;
#pragma omp parallel for schedule(static) if (chunks > 4)
  for (int64_t c = 0; c < chunks; ++c) {
    const int64_t begin = c * rows_per_chunk, end = smaller(begin + rows_per_chunk, task.rows);
    if (task.touched_only) {
      sweep_touched(task, begin, end);
    } else {
      sweep(task, begin * task.features, end * task.features);
    }
  }
}

}  // namespace volkit::VOLKIT_ISA
