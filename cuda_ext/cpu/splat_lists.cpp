// Which splats cover which tile, on a CPU: splats are put in the order of depth once, then every chunk of them counts and
// writes its own part of each tile's list. Parts are joined in order, so that lists are in order too.
#include <omp.h>

#include "volkit/splat_blend.h"

namespace volkit::VOLKIT_ISA {
namespace {

constexpr int kDigit = 12, kBuckets = 1 << kDigit;
constexpr int kAhead = 8;  // records fetched before they are needed

struct Keyed {
  uint32_t key;
  int32_t number;
};

// Depths are positive, so that their bits rise as they do; writes those of the drawn splats above `least`.
VOLKIT_FN int64_t write_keys(const SplatBlendTask& task, Keyed* to, uint32_t& least, uint32_t& most) {
  int64_t count = 0;
  least = ~0u;
  most = 0;
  for (int64_t i = 0; i < task.splats; ++i) {
    if (!(task.extents[2 * i] > 0.0f)) continue;
    uint32_t key;
    __builtin_memcpy(&key, task.depths + i, 4);
    least = smaller(least, key);
    most = larger(most, key);
    to[count++] = {key, int32_t(i)};
  }
  for (int64_t k = 0; k < count; ++k) to[k].key -= least;
  return count;
}

// Calls f(place in order, splat, its record) for a chunk of the order.
template <class F> VOLKIT_FN void over_chunk(const SplatBlendTask& task, int64_t chunk, const F& f) {
  const int64_t first = task.drawn_count * chunk / task.chunks, end = task.drawn_count * (chunk + 1) / task.chunks;
  const int64_t stride = splat_stride(task);
  for (int64_t k = first; k < end; ++k) {
    if (k + kAhead < end) {
      __builtin_prefetch(task.records + task.order[k + kAhead] * stride);
      __builtin_prefetch(task.extents + task.order[k + kAhead] * 2);
    }
    const int64_t i = task.order[k];
    f(k, i, record_at<EllipseRecord>(task.records + i * stride));
  }
}

VOLKIT_FN int64_t tile_count(const SplatBlendTask& task) {
  return ((task.width + task.tile - 1) / task.tile) * ((task.height + task.tile - 1) / task.tile);
}

}  // namespace

// Radix sort from the lowest digit, which keeps equal depths in their order; only of the digits in which depths differ.
void splat_order(const SplatBlendTask& task) {
  Keyed* from = reinterpret_cast<Keyed*>(task.scratch);
  Keyed* to = from + task.splats;
  uint32_t least, most;
  const int64_t count = write_keys(task, from, least, most);
  for (int shift = 0; count && shift < 32 && (most - least) >> shift; shift += kDigit) {
    int32_t places[kBuckets + 1] = {};
    for (int64_t k = 0; k < count; ++k) ++places[(from[k].key >> shift & (kBuckets - 1)) + 1];
    for (int b = 0; b < kBuckets; ++b) places[b + 1] += places[b];
    for (int64_t k = 0; k < count; ++k) to[places[from[k].key >> shift & (kBuckets - 1)]++] = from[k];
    Keyed* spare = from;
    from = to;
    to = spare;
  }
  for (int64_t k = 0; k < count; ++k) task.order[k] = from[k].number;
  task.drawn[0] = count;
}

void splat_count(const SplatBlendTask& task) {
  const int64_t tiles = tile_count(task);
#pragma omp parallel
  {
#pragma omp for schedule(static)
    for (int64_t i = 0; i < task.splats; ++i) {
      if (task.extents[2 * i] > 0.0f) put_record(task, i);
    }
#pragma omp for schedule(dynamic, 1)
    for (int64_t chunk = 0; chunk < task.chunks; ++chunk) {
      int32_t* counts = task.counts + chunk * tiles;
      over_chunk(task, chunk, [&](int64_t k, int64_t i, const EllipseRecord& s) {
        int64_t pairs = 0;
        splat_tiles<Lanes>(task, s, task.extents + 2 * i, [&](int64_t at) {
          ++counts[at];
          ++pairs;
        });
        task.slots[k + 1] = pairs;
      });
    }
  }
}

void splat_list(const SplatBlendTask& task) {
  const int64_t tiles = tile_count(task);
#pragma omp parallel for schedule(dynamic, 1)
  for (int64_t chunk = 0; chunk < task.chunks; ++chunk) {
    int32_t* left = task.counts + chunk * tiles;  // counted down
    const auto next = [&](int64_t at) { return task.starts[at * task.chunks + chunk + 1] - left[at]--; };
    over_chunk(task, chunk, [&](int64_t k, int64_t i, const EllipseRecord& s) {
      int32_t slot = int32_t(task.slots[k]);
      splat_tiles<Lanes>(task, s, task.extents + 2 * i, [&](int64_t at) {
        int32_t* entry = task.list + 2 * next(at);
        entry[0] = int32_t(i);
        entry[1] = slot++;
      });
    });
  }
}

}  // namespace volkit::VOLKIT_ISA
