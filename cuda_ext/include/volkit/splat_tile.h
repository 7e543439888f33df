// A tile of a picture as a CPU blends it: in blocks of pixels, four wide and as tall as a vector makes them, since the
// blocks that a splat reaches are about as many as its area has, where rows of a tile are half empty.
#pragma once

#include "volkit/splat_blend.h"

namespace volkit::VOLKIT_ISA {

constexpr int kTile = 16, kBlockWide = 4, kBlockTall = kLanes / kBlockWide;
constexpr int kAcross = kTile / kBlockWide, kBlocks = kTile * kTile / kLanes;
constexpr uint32_t kAllBlocks = uint32_t((uint64_t(1) << kBlocks) - 1);

struct Tile {
  int64_t at;             // its number
  float x, y;             // first pixel's centre
  int64_t first;          // first pixel's place in a plane
  int columns, rows;      // inside the picture
};

VOLKIT_FN Tile open_tile(const SplatBlendTask& task, int64_t at) {
  const int64_t wide = (task.width + kTile - 1) / kTile, x = at % wide * kTile, y = at / wide * kTile;
  return {at, float(x) + 0.5f, float(y) + 0.5f, y * task.width + x, int(smaller<int64_t>(kTile, task.width - x)),
          int(smaller<int64_t>(kTile, task.height - y))};
}

// Pixel centres of a block.
VOLKIT_FN Lanes block_x(const Tile& tile, int block) {
  return cell_columns(Lanes{}) + (tile.x + float(block % kAcross * kBlockWide));
}
VOLKIT_FN Lanes block_y(const Tile& tile, int block) {
  return cell_rows(Lanes{}) + (tile.y + float(block / kAcross * kBlockTall));
}

// 1 inside the picture, -1 (done) outside.
VOLKIT_FN Lanes block_light(const Tile& tile, int block) {
  const auto inside = above(tile.x + float(tile.columns) - block_x(tile, block), 0.0f) &
                      above(tile.y + float(tile.rows) - block_y(tile, block), 0.0f);
  return select(inside, broadcast(1.0f), broadcast(-1.0f));
}

// The blocks that a splat reaches, as bits.
VOLKIT_FN uint32_t reached_blocks(const Tile& tile, const EllipseRecord& s) {
  const Lanes x = cell_columns(Lanes{}) * float(kBlockWide) + (tile.x - s.x);
  const Lanes y = cell_rows(Lanes{}) * float(kBlockTall) + (tile.y - s.y);
  uint32_t bits = 0;
  for (int first = 0; first < kBlocks; first += kLanes) {
    const float down = float(first / kAcross * kBlockTall);
    bits |= lane_bits(splat_reaches(s, x, y + down, kBlockWide - 1.0f, kBlockTall - 1.0f)) << first;
  }
  return bits;
}

// Calls f(place in the plane, lane, bytes) for each row of a block that is inside the picture; most are whole.
template <class F> VOLKIT_FN void block_rows(const Tile& tile, int64_t width, int block, const F& f) {
  const int x = block % kAcross * kBlockWide, y = block / kAcross * kBlockTall;
  const int columns = smaller(kBlockWide, tile.columns - x), rows = smaller(kBlockTall, tile.rows - y);
  const int64_t first = tile.first + y * width + x;
  if (columns == kBlockWide && rows == kBlockTall) {
    for (int row = 0; row < kBlockTall; ++row) f(first + row * width, row * kBlockWide, 4 * kBlockWide);
  } else {
    for (int row = 0; row < rows && columns > 0; ++row) f(first + row * width, row * kBlockWide, 4 * columns);
  }
}

VOLKIT_FN void put_block(const Tile& tile, int64_t width, int block, Lanes value, float* plane) {
  float values[kLanes];
  store(values, value);
  block_rows(tile, width, block, [&](int64_t at, int lane, int bytes) __attribute__((always_inline)) {
    __builtin_memcpy(plane + at, values + lane, bytes);
  });
}

VOLKIT_FN Lanes get_block(const Tile& tile, int64_t width, int block, const float* plane) {
  float values[kLanes] = {};
  block_rows(tile, width, block, [&](int64_t at, int lane, int bytes) __attribute__((always_inline)) {
    __builtin_memcpy(values + lane, plane + at, bytes);
  });
  return load(values);
}

// Whether channel c is seen where the ray meets the splat, and not the same all over it.
template <class Record> VOLKIT_FN bool depth_varies(const SplatBlendTask& task, int c, int channels) {
  return Record::kDepthVaries && task.varies_with_pixel && c == channels - 1;
}

VOLKIT_FN void fetch_record(const SplatBlendTask& task, int64_t pair, int64_t stride) {
  const float* record = task.records + task.list[2 * pair] * stride;
  __builtin_prefetch(record);
  __builtin_prefetch(record + stride - 1);
}

// Calls f.run<channels>(tile, scratch of Lanes) for all tiles, with 0 for a number that was not compiled.
template <class F> void over_tiles(const SplatBlendTask& task, int64_t scratch_vectors, const F& f) {
  const int64_t tiles = ((task.width + kTile - 1) / kTile) * ((task.height + kTile - 1) / kTile);
#pragma omp parallel
  {
    Lanes* scratch = static_cast<Lanes*>(__builtin_malloc(sizeof(Lanes) * (scratch_vectors + 1)));
    Lanes* aligned = reinterpret_cast<Lanes*>((uintptr_t(scratch) + sizeof(Lanes) - 1) / sizeof(Lanes) * sizeof(Lanes));
#pragma omp for schedule(dynamic, 1)
    for (int64_t at = 0; at < tiles; ++at) {
      const Tile tile = open_tile(task, at);
      switch (task.channel_count) {
        case 3: f.template run<3>(tile, aligned); break;
        case 4: f.template run<4>(tile, aligned); break;
        default: f.template run<0>(tile, aligned);
      }
    }
    __builtin_free(scratch);
  }
}

}  // namespace volkit::VOLKIT_ISA
