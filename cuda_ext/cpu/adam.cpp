// Adam on a CPU: one sweep over four arrays, bound by memory. Vectors without a touched row cost one read.
#include "volkit/adam.h"
#include "volkit/gather.h"

namespace volkit::VOLKIT_ISA {
namespace {

VOLKIT_FN void update_one(const AdamTask& task, int64_t at) {
  adam_update(task, task.param[at], task.grad[at], task.first[at], task.second[at]);
  task.grad[at] = 0.0f;
}

VOLKIT_FN void update_lanes(const AdamTask& task, int64_t at, LanesI touched) {
  const Lanes grad = load(task.grad + at), old = load(task.param + at);
  const Lanes old_first = load(task.first + at), old_second = load(task.second + at);
  Lanes param = old, first = old_first, second = old_second;
  adam_update(task, param, grad, first, second);
  store(task.param + at, select(touched, param, old));
  store(task.first + at, select(touched, first, old_first));
  store(task.second + at, select(touched, second, old_second));
  store(task.grad + at, Lanes{});
}

template <int kStep, int... i> VOLKIT_FN LanesI partner(LanesI x, Sequence<i...>) {
  return __builtin_shufflevector(x, x, (i ^ kStep)...);
}

// Which lanes lie in a row with a gradient. NaN is not equal to zero, so a broken gradient shows instead of being
// skipped.
template <int kFeatures> VOLKIT_FN LanesI touched_rows(Lanes grad) {
  LanesI touched = grad != Lanes{};
  if constexpr (kFeatures >= 2) touched |= partner<1>(touched, LaneSequence{});
  if constexpr (kFeatures >= 4) touched |= partner<2>(touched, LaneSequence{});
  if constexpr (kFeatures >= 8) touched |= partner<4>(touched, LaneSequence{});
  return touched;
}

void sweep(const AdamTask& task, int64_t begin, int64_t end) {
  int64_t at = begin;
  for (; at + kLanes <= end; at += kLanes) update_lanes(task, at, ~LanesI{});
  for (; at < end; ++at) update_one(task, at);
}

void sweep_rows(const AdamTask& task, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row += task.features) {
    bool touched = false;
    for (int64_t f = 0; f < task.features; ++f) touched |= task.grad[row + f] != 0.0f;
    for (int64_t f = 0; touched && f < task.features; ++f) update_one(task, row + f);
  }
}

template <int kFeatures> void sweep_touched(const AdamTask& task, int64_t begin, int64_t end) {
  int64_t at = begin;
  for (; at + kLanes <= end; at += kLanes) {
    const LanesI touched = touched_rows<kFeatures>(load(task.grad + at));
    if (bits(touched)) update_lanes(task, at, touched);
  }
  sweep_rows(task, at, end);
}

void sweep_piece(const AdamTask& task, int64_t begin, int64_t end) {
  if (!task.touched_only) return sweep(task, begin, end);
  switch (task.features) {
    case 1:
      return sweep_touched<1>(task, begin, end);
    case 2:
      return sweep_touched<2>(task, begin, end);
    case 4:
      return sweep_touched<4>(task, begin, end);
    case 8:
      return sweep_touched<8>(task, begin, end);
    default:
      return sweep_rows(task, begin, end);
  }
}

}  // namespace

void adam(const AdamTask& task) {
  constexpr int64_t kPiece = 1 << 14;  // 4 arrays of 64 KiB
  const int64_t rows = task.touched_only ? larger<int64_t>(1, kPiece / task.features) : kPiece;
  const int64_t row = task.touched_only ? task.features : 1;
  const int64_t all = task.rows * task.features / row, pieces = (all + rows - 1) / rows;
#pragma omp parallel for schedule(static) if (pieces > 4)
  for (int64_t p = 0; p < pieces; ++p) sweep_piece(task, p * rows * row, smaller((p + 1) * rows, all) * row);
}

}  // namespace volkit::VOLKIT_ISA
