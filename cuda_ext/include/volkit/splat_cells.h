// Which cells of a grid a splat reaches: tiles of a picture, blocks of a tile.
#pragma once

#include "volkit/predicates.h"
#include "volkit/splat_records.h"

namespace volkit::VOLKIT_ISA {

constexpr float kSplatSlack = 0.01f;  // of a power: rounding must not lose what the pixels themselves decide

template <class T> VOLKIT_FN T held_between(T x, T low, T high) { return smaller_of(larger_of(x, low), high); }

// Whether the splat's power reaches what is drawn in rectangles: x and y from its centre to their first pixels' centres,
// `wide` and `tall` from there to the last ones. A concave function is largest on a side that faces its centre: there
// dq/dy = 0 at y = rise x, dq/dx = 0 at x = run y, or at the side's end.
template <class T> VOLKIT_FN auto splat_reaches(const EllipseRecord& s, T x, T y, float wide, float tall) {
  const T right = x + wide, bottom = y + tall;
  const T side_x = held_between(zero<T>(), x, right), side_y = held_between(zero<T>(), y, bottom);
  const T best_y = held_between(s.rise * side_x, y, bottom), best_x = held_between(s.run * side_y, x, right);
  const T upright = (s.a * side_x + s.b * best_y) * side_x + s.c * best_y * best_y;
  const T level = (s.a * best_x + s.b * side_y) * best_x + s.c * side_y * side_y;
  return at_least(larger_of(upright, level), kSplatFaintestPower - kSplatSlack - s.lift);
}

// Lanes as cells of a grid, four to a row; a CUDA thread has one.
template <class T> constexpr int kCellsWide = LaneKind<T>::count < 4 ? 1 : 4;
template <class T> constexpr int kCellsTall = LaneKind<T>::count / kCellsWide<T>;

VOLKIT_FN float cell_columns(float) { return 0.0f; }
VOLKIT_FN float cell_rows(float) { return 0.0f; }
#if !defined(__CUDACC__)
VOLKIT_FN Lanes cell_columns(Lanes x) {
  for (int i = 0; i < kLanes; ++i) x[i] = float(i % 4);
  return x;
}
VOLKIT_FN Lanes cell_rows(Lanes x) {
  for (int i = 0; i < kLanes; ++i) x[i] = float(i / 4);
  return x;
}
#endif

VOLKIT_FN int lowest_bit(uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __ffs(static_cast<int>(bits)) - 1;
#else
  return __builtin_ctz(bits);
#endif
}

// Calls f(tile) for each tile that the splat reaches; `extent` is half the width and height of what is drawn.
template <class T, class F>
VOLKIT_FN void splat_tiles(const SplatBlendTask& task, const EllipseRecord& s, const float* extent, const F& f) {
  constexpr int64_t across = kCellsWide<T>, down = kCellsTall<T>;
  const float tile = float(task.tile), ex = extent[0] + 0.5f, ey = extent[1] + 0.5f;
  if (!(s.x + ex > 0.0f) || !(s.x - ex < float(task.width)) || !(s.y + ey > 0.0f) || !(s.y - ey < float(task.height))) return;
  const int64_t wide = (task.width + task.tile - 1) / task.tile, tall = (task.height + task.tile - 1) / task.tile;
  const int64_t left = int64_t(larger(s.x - ex, 0.0f) / tile), top = int64_t(larger(s.y - ey, 0.0f) / tile);
  const int64_t right = smaller<int64_t>(wide - 1, int64_t(smaller(s.x + ex, float(task.width)) / tile));
  const int64_t bottom = smaller<int64_t>(tall - 1, int64_t(smaller(s.y + ey, float(task.height)) / tile));
  for (int64_t row = top; row <= bottom; row += down) {
    const T y = cell_rows(T{}) * tile + (float(row) * tile + 0.5f - s.y);
    for (int64_t column = left; column <= right; column += across) {
      const T x = cell_columns(T{}) * tile + (float(column) * tile + 0.5f - s.x);
      const uint32_t columns = (1u << smaller(across, right - column + 1)) - 1u;
      const uint32_t inside = uint32_t((uint64_t(1) << (across * smaller(down, bottom - row + 1))) - 1u);
      uint32_t reached = lane_bits(splat_reaches(s, x, y, tile - 1.0f, tile - 1.0f)) & columns * 0x11111111u & inside;
      for (; reached; reached &= reached - 1) {
        const int64_t cell = lowest_bit(reached);
        f((row + cell / across) * wide + column + cell % across);
      }
    }
  }
}

}  // namespace volkit::VOLKIT_ISA
