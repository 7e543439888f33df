// Small matrix products on a CPU, in words of 32 bits: a word is a float, or two neighbouring bfloat16 of the summed
// axis. With that one loop serves fused multiply-add and VDPBF16PS, and the same arrays feed AMX tiles.
#pragma once

#include "volkit/gather.h"

namespace volkit::VOLKIT_ISA {

struct Float32 {
  static constexpr int kGroup = 1;  // numbers per word
  static VOLKIT_FN Lanes add_product(Lanes sum, Lanes a, Lanes b) { return sum + a * b; }
};

#if defined(__AVX512BF16__)
struct Bfloat16 {
  static constexpr int kGroup = 2;
  static VOLKIT_FN Lanes add_product(Lanes sum, Lanes a, Lanes b) {
    return (Lanes)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
  }
};
#else
using Bfloat16 = Float32;
#endif

struct Matrix {
  float* at;
  int64_t stride;
};

// c[row, col] (+)= sum over words of a[row, word] * b[word, col], for kRows rows and kVectors vectors of columns.
template <class P, int kRows, int kVectors>
VOLKIT_FN void product_tile(Matrix c, Matrix a, Matrix b, int64_t words, bool accumulate) {
  Lanes sum[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) sum[r][v] = accumulate ? load(c.at + r * c.stride + v * kLanes) : Lanes{};
  }
  for (int64_t w = 0; w < words; ++w) {
    Lanes column[kVectors];
    for (int v = 0; v < kVectors; ++v) column[v] = load(b.at + w * b.stride + v * kLanes);
    VOLKIT_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const Lanes row = broadcast(a.at[r * a.stride + w]);
      for (int v = 0; v < kVectors; ++v) sum[r][v] = P::add_product(sum[r][v], row, column[v]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) store(c.at + r * c.stride + v * kLanes, sum[r][v]);
  }
}

#if defined(__AMX_BF16__)

// Tiles of 16 rows of 64 bytes: 16 x 16 sums, 16 x 16 words of a, 16 words x 16 columns of b.
struct TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

VOLKIT_FN void amx_tiles_2x2(Matrix c, Matrix a, Matrix b, int64_t words, bool accumulate) {
  float *c0 = c.at, *c1 = c.at + 16 * c.stride;
  const int64_t cs = c.stride * 4, as = a.stride * 4, bs = b.stride * 4;
  if (accumulate) {
    _tile_loadd(0, c0, cs);
    _tile_loadd(1, c0 + 16, cs);
    _tile_loadd(2, c1, cs);
    _tile_loadd(3, c1 + 16, cs);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t w = 0; w < words; w += 16) {
    _tile_loadd(4, a.at + w, as);
    _tile_loadd(6, b.at + w * b.stride, bs);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b.at + w * b.stride + 16, bs);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, a.at + 16 * a.stride + w, as);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, c0, cs);
  _tile_stored(1, c0 + 16, cs);
  _tile_stored(2, c1, cs);
  _tile_stored(3, c1 + 16, cs);
}

VOLKIT_FN void amx_tile(Matrix c, Matrix a, Matrix b, int64_t words, bool accumulate) {
  const int64_t cs = c.stride * 4, as = a.stride * 4, bs = b.stride * 4;
  if (accumulate) {
    _tile_loadd(0, c.at, cs);
  } else {
    _tile_zero(0);
  }
  for (int64_t w = 0; w < words; w += 16) {
    _tile_loadd(4, a.at + w, as);
    _tile_loadd(6, b.at + w * b.stride, bs);
    _tile_dpbf16ps(0, 4, 6);
  }
  _tile_stored(0, c.at, cs);
}

inline void amx_product(Matrix c, Matrix a, Matrix b, int64_t rows, int64_t cols, int64_t words, bool accumulate) {
  // GCC's tile loads do not say that they read memory: without this, earlier stores could come after them.
  __asm__ volatile("" ::: "memory");
  for (int64_t r = 0; r < rows; r += 32) {
    const int64_t row_step = smaller<int64_t>(32, rows - r);
    for (int64_t v = 0; v < cols; v += 32) {
      const Matrix to{c.at + r * c.stride + v, c.stride}, row{a.at + r * a.stride, a.stride},
          column{b.at + v, b.stride};
      if (row_step == 32 && cols - v >= 32) {
        amx_tiles_2x2(to, row, column, words, accumulate);
        continue;
      }
      for (int64_t i = 0; i < row_step; i += 16) {
        for (int64_t j = 0; j < smaller<int64_t>(32, cols - v); j += 16) {
          amx_tile({to.at + i * to.stride + j, to.stride}, {row.at + i * row.stride, row.stride},
                   {column.at + j, column.stride}, words, accumulate);
        }
      }
    }
  }
  __asm__ volatile("" ::: "memory");
}

#endif

// The whole product; rows and columns are multiples of 16, words of 16 where they hold bfloat16.
template <class P>
inline void product(Matrix c, Matrix a, Matrix b, int64_t rows, int64_t cols, int64_t words, bool accumulate) {
#if defined(__AMX_BF16__)
  if constexpr (P::kGroup == 2) return amx_product(c, a, b, rows, cols, words, accumulate);
#endif
  // Sums and a column stay in the 32 (or 16) registers.
  constexpr int kRows = kLanes == 16 ? 8 : 4;
  int64_t v = 0;
  for (; v + 2 * kLanes <= cols; v += 2 * kLanes) {
    for (int64_t r = 0; r < rows; r += kRows) {
      product_tile<P, kRows, 2>({c.at + r * c.stride + v, c.stride}, {a.at + r * a.stride, a.stride},
                                {b.at + v, b.stride}, words, accumulate);
    }
  }
  for (; v < cols; v += kLanes) {
    for (int64_t r = 0; r < rows; r += kRows) {
      product_tile<P, kRows, 1>({c.at + r * c.stride + v, c.stride}, {a.at + r * a.stride, a.stride},
                                {b.at + v, b.stride}, words, accumulate);
    }
  }
}

// Exchanges blocks of kStep lanes between kStep-apart rows: all steps together transpose a square.
template <int kStep, int... i> VOLKIT_FN void exchange(Lanes& a, Lanes& b, Sequence<i...>) {
  const Lanes low = __builtin_shufflevector(a, b, (i & kStep ? kLanes + i - kStep : i)...);
  b = __builtin_shufflevector(a, b, (i & kStep ? kLanes + i : i + kStep)...);
  a = low;
}

template <int kStep> VOLKIT_FN void exchange_rows(Lanes (&rows)[kLanes]) {
  VOLKIT_UNROLL
  for (int r = 0; r < kLanes; ++r) {
    if (!(r & kStep)) exchange<kStep>(rows[r], rows[r + kStep], LaneSequence{});
  }
}

// to[col, row] = from[row, col], words; both multiples of the lanes.
inline void transpose(Matrix to, Matrix from, int64_t rows, int64_t cols) {
  for (int64_t r = 0; r < rows; r += kLanes) {
    for (int64_t c = 0; c < cols; c += kLanes) {
      Lanes square[kLanes];
      for (int i = 0; i < kLanes; ++i) square[i] = load(from.at + (r + i) * from.stride + c);
      exchange_rows<1>(square);
      exchange_rows<2>(square);
      exchange_rows<4>(square);
      if constexpr (kLanes == 16) exchange_rows<8>(square);
      for (int i = 0; i < kLanes; ++i) store(to.at + (c + i) * to.stride + r, square[i]);
    }
  }
}

}  // namespace volkit::VOLKIT_ISA
