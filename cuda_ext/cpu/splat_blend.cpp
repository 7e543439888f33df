// Blending on a CPU: a vector holds pixels of one row of a tile, a thread owns whole tiles. Splats go by in order of depth;
// each looks only at the rows that it reaches and that still have light left. What a splat gathers from a tile on the way
// back stays in registers and is written once per pair; a second pass adds up each splat's pairs in their order. So there
// are no atomics, and the number of threads changes nothing.
#include <cstdlib>

#include "volkit/channels.h"
#include "volkit/splat_blend.h"

namespace volkit::VOLKIT_ISA {
namespace {

constexpr int kRows = 16;
constexpr int kAhead = 6;  // records fetched before they are needed

struct Strip {
  int64_t tile, x, y;     // first pixel of a column of vectors
  int rows, columns;      // inside the picture
  Lanes at;               // pixel centres, x
  Lanes left[kRows];
  uint32_t alive;         // rows with light left
};

VOLKIT_FN int channels_of(const SplatBlendTask& task, int fixed) { return fixed ? fixed : int(task.channel_count); }

Strip open_strip(const SplatBlendTask& task, int64_t tile, int64_t shift) {
  const int64_t wide = (task.width + task.tile - 1) / task.tile;
  Strip strip;
  strip.tile = tile;
  strip.x = tile % wide * task.tile + shift;
  strip.y = tile / wide * task.tile;
  strip.rows = int(smaller<int64_t>(kRows, task.height - strip.y));
  strip.columns = int(smaller<int64_t>(kLanes, task.width - strip.x));
  strip.at = lane_numbers(Lanes{}) + (float(strip.x) + 0.5f);
  const Lanes light = select(lane_numbers(Lanes{}) < broadcast(float(strip.columns)), broadcast(1.0f), broadcast(-1.0f));
  for (int row = 0; row < kRows; ++row) strip.left[row] = light;
  strip.alive = (1u << strip.rows) - 1u;
  return strip;
}

// The rows of a strip that a splat reaches, as bits.
VOLKIT_FN uint32_t rows_of(const Strip& strip, const EllipseRecord& s) {
  const float from = float(strip.x) + 0.5f - s.x;
  const Reach y = splat_reach(s.a, s.b, s.c, s.faintest, from - 0.01f, from + float(kLanes) - 0.99f);
  if (y.low > y.high) return 0;
  // A hundredth of a pixel of slack, as for tiles.
  const float top = s.y + y.low - float(strip.y) - 0.51f, bottom = s.y + y.high - float(strip.y) - 0.49f;
  if (bottom < 0.0f || top > float(kRows)) return 0;
  const int first = top > 0.0f ? int(top) + (float(int(top)) < top) : 0;
  const int last = bottom < float(kRows - 1) ? int(bottom) : kRows - 1;
  if (first > last) return 0;
  return ((2u << last) - 1u) & ~((1u << first) - 1u);
}

// Calls f(sight, values, row, dy, hit) for what is drawn, begin() and end(record, dx, slot) around each pair.
template <class Record, class Begin, class Hit, class End>
VOLKIT_FN void walk(const SplatBlendTask& task, Strip& strip, const Begin& begin, const Hit& f, const End& end) {
  const int64_t stride = splat_stride(task), last = task.ends[strip.tile + 1];
  for (int64_t k = task.ends[strip.tile]; k < last; ++k) {
    if (k + kAhead < last) __builtin_prefetch(task.records + task.list[2 * (k + kAhead)] * stride);
    const float* record = task.records + task.list[2 * k] * stride;
    const Record s = read_record<Record>(record);
    begin();
    uint32_t rows = rows_of(strip, s) & strip.alive;
    Sight<Record, Lanes> at(s, strip.at - s.x);
    for (; rows; rows &= rows - 1) {
      const int row = __builtin_ctz(rows);
      const float dy = float(strip.y + row) + 0.5f - s.y;
      const Lanes q = at.power(s, dy);
      if (!lane_bits((q >= broadcast(s.faintest)) & (strip.left[row] > 0.0f))) continue;
      const SplatHit<Lanes> hit = splat_hit(q, s.opacity, s.faintest, strip.left[row]);
      strip.left[row] = hit.left;
      if (!lane_bits(hit.left > 0.0f)) strip.alive &= ~(1u << row);
      f(s, at, record + sizeof(Record) / sizeof(float), row, dy, hit);
    }
    end(s, at.dx, task.list[2 * k + 1]);
    // On the way back the pairs that nobody sees any more must be told as well; forward there is nothing left to do.
    if (!strip.alive && !task.pair_grads) break;
  }
}

// Whether channel c is seen where the ray meets the splat, and not the same all over it.
template <class Record> VOLKIT_FN bool bends(const SplatBlendTask& task, int c, int channels) {
  return Record::kBends && task.bent && c == channels - 1;
}

VOLKIT_FN void put_row(float* to, Lanes x, int columns) {
  if (columns == kLanes) {
    store(to, x);
  } else {
    for (int i = 0; i < columns; ++i) to[i] = x[i];
  }
}

VOLKIT_FN Lanes get_row(const float* from, int columns) {
  if (columns == kLanes) return load(from);
  Lanes x{};
  for (int i = 0; i < columns; ++i) x[i] = from[i];
  return x;
}

VOLKIT_FN Lanes magnitude_of(Lanes x) { return larger_of(x, -x); }

template <class Record, int kFixed>
void blend_strip(const SplatBlendTask& task, int64_t tile, int64_t shift, Lanes* sums) {
  const int channels = channels_of(task, kFixed);
  Strip strip = open_strip(task, tile, shift);
  if (strip.columns <= 0) return;
  Lanes median[kRows];
  for (int row = 0; row < kRows; ++row) median[row] = broadcast(__builtin_inff());
  for (int i = 0; i < kRows * channels; ++i) sums[i] = Lanes{};
  walk<Record>(
      task, strip, [] {},
      [&](const Record& s, const auto& at, const float* values, int row, float, const SplatHit<Lanes>& hit) {
        for (int c = 0; c < channels; ++c) {
          const Lanes value = bends<Record>(task, c, channels) ? at.bent(values[c]) : broadcast(values[c]);
          sums[row * channels + c] += hit.weight * value;
        }
        const LanesI half = hit.drawn & (hit.before > 0.5f) & (hit.before - hit.weight <= 0.5f);
        median[row] = select(half, at.bent(s.depth), median[row]);
      },
      [](const Record&, Lanes, int64_t) {});
  const int64_t plane = task.width * task.height;
  for (int row = 0; row < strip.rows; ++row) {
    const int64_t pixel = (strip.y + row) * task.width + strip.x;
    for (int c = 0; c < channels; ++c) put_row(task.picture + c * plane + pixel, sums[row * channels + c], strip.columns);
    put_row(task.opacity + pixel, 1.0f - magnitude_of(strip.left[row]), strip.columns);
    put_row(task.median + pixel, median[row], strip.columns);
  }
}

template <class Record, int kFixed>
void pull_strip(const SplatBlendTask& task, int64_t tile, int64_t shift, Lanes* scratch) {
  const int channels = channels_of(task, kFixed);
  Strip strip = open_strip(task, tile, shift);
  if (strip.columns <= 0) return;
  Lanes* grads = scratch;                         // [row, channel]
  Lanes* gathered = scratch + kRows * channels;   // [channel], of one pair
  Lanes behind[kRows];
  const int64_t plane = task.width * task.height;
  for (int row = 0; row < strip.rows; ++row) {
    const int64_t pixel = (strip.y + row) * task.width + strip.x;
    behind[row] = get_row(task.opacity_grad + pixel, strip.columns) * (get_row(task.opacity + pixel, strip.columns) - 1.0f);
    for (int c = 0; c < channels; ++c) {
      const Lanes grad = get_row(task.picture_grad + c * plane + pixel, strip.columns);
      grads[row * channels + c] = grad;
      behind[row] += grad * get_row(task.picture + c * plane + pixel, strip.columns);
    }
  }
  PairSums<Record, Lanes> pair;
  walk<Record>(
      task, strip,
      [&] {
        pair = {};
        for (int c = 0; c < channels; ++c) gathered[c] = Lanes{};
      },
      [&](const Record&, const auto& at, const float* values, int row, float dy, const SplatHit<Lanes>& hit) {
        const Lanes* grad = grads + row * channels;
        Lanes seen{}, bent{};
        for (int c = 0; c < channels; ++c) {
          const Lanes pull = grad[c] * hit.weight;
          if (bends<Record>(task, c, channels)) {
            const Lanes value = at.bent(values[c]);
            seen += grad[c] * value;
            bent = pull * value;
            gathered[c] += at.bent(pull);
          } else {
            seen += grad[c] * values[c];
            gathered[c] += pull;
          }
        }
        behind[row] -= hit.weight * seen;
        const Lanes pull = hit.before * seen - behind[row] / (1.0f - hit.alpha);
        const LanesI free = hit.drawn & (hit.alpha < kSplatOpaquest);
        pair.add(at, dy, select(free, pull * hit.alpha, Lanes{}), bent);
      },
      [&](const Record& s, Lanes dx, int64_t slot) {
        constexpr int shape = kSplatPair<Record>;
        float* to = task.pair_grads + slot * (shape + channels);
        Lanes parts[PairSums<Record, Lanes>::kCount];
        float sums[PairSums<Record, Lanes>::kCount], found[shape];
        pair.parts(dx, parts);
        for (int i = 0; i < PairSums<Record, Lanes>::kCount; ++i) sums[i] = sum(parts[i]);
        pair_grad(s, sums, found);
        for (int i = 0; i < shape; ++i) to[i] = shift ? to[i] + found[i] : found[i];
        for (int i = 0; i < channels; ++i) {
          const float value = sum(gathered[i]);
          to[shape + i] = shift ? to[shape + i] + value : value;
        }
      });
}

// Calls one of the three compilations of `strip` for all vectors of all tiles.
template <class Three, class Four, class Any>
void over_strips(const SplatBlendTask& task, const Three& three, const Four& four, const Any& any) {
  const int64_t tiles = ((task.width + task.tile - 1) / task.tile) * ((task.height + task.tile - 1) / task.tile);
#pragma omp parallel
  {
    const size_t bytes = sizeof(Lanes) * (kRows + 1) * larger<int64_t>(task.channel_count, 1);
    Lanes* scratch = static_cast<Lanes*>(std::aligned_alloc(alignof(Lanes), bytes));
#pragma omp for schedule(dynamic, 4)
    for (int64_t tile = 0; tile < tiles; ++tile) {
      for (int64_t shift = 0; shift < task.tile; shift += kLanes) {
        if (task.channel_count == 3) {
          three(tile, shift, scratch);
        } else if (task.channel_count == 4) {
          four(tile, shift, scratch);
        } else {
          any(tile, shift, scratch);
        }
      }
    }
    std::free(scratch);
  }
}

template <class Record> void blend(const SplatBlendTask& task) {
  over_strips(
      task, [&](int64_t tile, int64_t shift, Lanes* scratch) { blend_strip<Record, 3>(task, tile, shift, scratch); },
      [&](int64_t tile, int64_t shift, Lanes* scratch) { blend_strip<Record, 4>(task, tile, shift, scratch); },
      [&](int64_t tile, int64_t shift, Lanes* scratch) { blend_strip<Record, 0>(task, tile, shift, scratch); });
}

template <class Record> void pull(const SplatBlendTask& task) {
  over_strips(
      task, [&](int64_t tile, int64_t shift, Lanes* scratch) { pull_strip<Record, 3>(task, tile, shift, scratch); },
      [&](int64_t tile, int64_t shift, Lanes* scratch) { pull_strip<Record, 4>(task, tile, shift, scratch); },
      [&](int64_t tile, int64_t shift, Lanes* scratch) { pull_strip<Record, 0>(task, tile, shift, scratch); });
#pragma omp parallel for schedule(static)
  for (int64_t k = 0; k < task.drawn_count; ++k) splat_gather_pairs<Record>(task, k);
}

}  // namespace

void splat_blend(const SplatBlendTask& task) {
  has_surfels(task) ? blend<SurfelRecord>(task) : blend<EllipseRecord>(task);
}

void splat_blend_grad(const SplatBlendTask& task) {
  has_surfels(task) ? pull<SurfelRecord>(task) : pull<EllipseRecord>(task);
}

}  // namespace volkit::VOLKIT_ISA
