// Which splats cover which tile, on a CPU: splats are put in the order of depth once, then every chunk of them counts and
// writes its own part of each tile's list. Parts are joined in order, so that lists are in order too.
#include <omp.h>

#include "volkit/splat_blend.h"

namespace volkit::VOLKIT_ISA {
namespace {

constexpr int kDigit = 11, kBuckets = 1 << kDigit, kPasses = 3;

// Depths are positive, so that their bits rise as they do.
VOLKIT_FN uint32_t depth_bits(const SplatBlendTask& task, int32_t i) {
  uint32_t bits;
  __builtin_memcpy(&bits, task.depths + i, 4);
  return bits;
}

struct Range {
  int64_t first, end;
};

Range chunk_range(const SplatBlendTask& task, int64_t chunk) {
  return {task.drawn_count * chunk / task.chunks, task.drawn_count * (chunk + 1) / task.chunks};
}

}  // namespace

// Radix sort from the lowest digit, which keeps equal depths in their order.
void splat_order(const SplatBlendTask& task) {
  int32_t* from = task.order;
  int32_t* to = task.scratch;
  int64_t count = 0;
  for (int64_t i = 0; i < task.splats; ++i) {
    if (task.extents[2 * i] > 0.0f) from[count++] = int32_t(i);
  }
  for (int pass = 0; pass < kPasses; ++pass) {
    int64_t places[kBuckets + 1] = {};
    const int shift = pass * kDigit;
    for (int64_t k = 0; k < count; ++k) ++places[((depth_bits(task, from[k]) >> shift) & (kBuckets - 1)) + 1];
    for (int b = 0; b < kBuckets; ++b) places[b + 1] += places[b];
    for (int64_t k = 0; k < count; ++k) to[places[(depth_bits(task, from[k]) >> shift) & (kBuckets - 1)]++] = from[k];
    int32_t* spare = from;
    from = to;
    to = spare;
  }
  if (from != task.order) __builtin_memcpy(task.order, from, count * sizeof(int32_t));
  task.drawn[0] = count;
}

void splat_count(const SplatBlendTask& task) {
  const int64_t tile = task.tile;
  const int64_t tiles = ((task.width + tile - 1) / tile) * ((task.height + tile - 1) / tile);
#pragma omp parallel for schedule(static)
  for (int64_t chunk = 0; chunk < task.chunks; ++chunk) {
    const Range range = chunk_range(task, chunk);
    int32_t* counts = task.counts + chunk * tiles;
    for (int64_t k = range.first; k < range.end; ++k) {
      const EllipseRecord s = splat_record(task, task.order[k], k);
      int64_t pairs = 0;
      splat_tiles(task, s, half_height(s), [&](int64_t at) {
        ++counts[at];
        ++pairs;
      });
      task.slots[k + 1] = pairs;
    }
  }
}

void splat_list(const SplatBlendTask& task) {
  const int64_t stride = splat_stride(task), tile = task.tile;
  const int64_t tiles = ((task.width + tile - 1) / tile) * ((task.height + tile - 1) / tile);
#pragma omp parallel for schedule(static)
  for (int64_t chunk = 0; chunk < task.chunks; ++chunk) {
    const Range range = chunk_range(task, chunk);
    int32_t* written = task.counts + chunk * tiles;  // counted down: each list is filled from its end
    for (int64_t k = range.end - 1; k >= range.first; --k) {
      const EllipseRecord s = read_record<EllipseRecord>(task.records + k * stride);
      int32_t slot = int32_t(task.slots[k]);
      splat_tiles(task, s, half_height(s), [&](int64_t at) {
        int32_t* entry = task.list + 2 * (task.starts[at * task.chunks + chunk] + --written[at]);
        entry[0] = int32_t(k);
        entry[1] = slot++;
      });
    }
  }
}

}  // namespace volkit::VOLKIT_ISA
