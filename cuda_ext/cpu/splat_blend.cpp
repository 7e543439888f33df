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
VOLKIT_FN uint32_t rows_of(const Strip& strip, const SplatRecord& s) {
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

// Calls f(record, row, dy, hit, slot) for what is drawn, begin(record, slot) and end(slot, dx) around each pair.
template <class Begin, class Hit, class End>
VOLKIT_FN void walk(const SplatBlendTask& task, Strip& strip, const Begin& begin, const Hit& f, const End& end) {
  const int64_t stride = splat_stride(task.channel_count), last = task.ends[strip.tile + 1];
  for (int64_t k = task.ends[strip.tile]; k < last; ++k) {
    if (k + kAhead < last) __builtin_prefetch(task.records + task.list[2 * (k + kAhead)] * stride);
    const float* record = task.records + task.list[2 * k] * stride;
    const SplatRecord s = read_record(record);
    begin(task.list[2 * k + 1]);
    uint32_t rows = rows_of(strip, s) & strip.alive;
    const Lanes dx = strip.at - s.x, base = s.a * dx * dx, slope = s.b * dx;
    for (; rows; rows &= rows - 1) {
      const int row = __builtin_ctz(rows);
      const float dy = float(strip.y + row) + 0.5f - s.y;
      const Lanes q = base + dy * (slope + s.c * dy);
      if (!lane_bits((q >= broadcast(s.faintest)) & (strip.left[row] > 0.0f))) continue;
      const SplatHit<Lanes> hit = splat_hit(q, s.opacity, s.faintest, strip.left[row]);
      strip.left[row] = hit.left;
      if (!lane_bits(hit.left > 0.0f)) strip.alive &= ~(1u << row);
      f(s, record + kSplatHeader, row, dy, hit);
    }
    end(s, dx, task.list[2 * k + 1]);
    // On the way back the pairs that nobody sees any more must be told as well; forward there is nothing left to do.
    if (!strip.alive && !task.pair_grads) break;
  }
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

template <int kFixed> void blend_strip(const SplatBlendTask& task, int64_t tile, int64_t shift, Lanes* sums) {
  const int channels = channels_of(task, kFixed);
  Strip strip = open_strip(task, tile, shift);
  if (strip.columns <= 0) return;
  Lanes median[kRows];
  for (int row = 0; row < kRows; ++row) median[row] = broadcast(__builtin_inff());
  for (int i = 0; i < kRows * channels; ++i) sums[i] = Lanes{};
  walk(
      task, strip, [](int64_t) {},
      [&](const SplatRecord& s, const float* values, int row, float, const SplatHit<Lanes>& hit) {
        for (int c = 0; c < channels; ++c) sums[row * channels + c] += hit.weight * values[c];
        const LanesI half = hit.drawn & (hit.before > 0.5f) & (hit.before - hit.weight <= 0.5f);
        median[row] = select(half, broadcast(s.depth), median[row]);
      },
      [](const SplatRecord&, Lanes, int64_t) {});
  const int64_t plane = task.width * task.height;
  for (int row = 0; row < strip.rows; ++row) {
    const int64_t pixel = (strip.y + row) * task.width + strip.x;
    for (int c = 0; c < channels; ++c) put_row(task.picture + c * plane + pixel, sums[row * channels + c], strip.columns);
    put_row(task.opacity + pixel, 1.0f - magnitude_of(strip.left[row]), strip.columns);
    put_row(task.median + pixel, median[row], strip.columns);
  }
}

template <int kFixed> void pull_strip(const SplatBlendTask& task, int64_t tile, int64_t shift, Lanes* scratch) {
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
  Lanes gain, tilt, bend;  // sums over rows of dL/dln(alpha), times dy, times dy^2
  walk(
      task, strip,
      [&](int64_t) {
        gain = tilt = bend = Lanes{};
        for (int c = 0; c < channels; ++c) gathered[c] = Lanes{};
      },
      [&](const SplatRecord&, const float* values, int row, float dy, const SplatHit<Lanes>& hit) {
        const Lanes* grad = grads + row * channels;
        Lanes seen{};
        for (int c = 0; c < channels; ++c) {
          seen += grad[c] * values[c];
          gathered[c] += grad[c] * hit.weight;
        }
        behind[row] -= hit.weight * seen;
        const Lanes pull = hit.before * seen - behind[row] / (1.0f - hit.alpha);
        const LanesI free = hit.drawn & (hit.alpha < kSplatOpaquest);
        const Lanes g = select(free, pull * hit.alpha, Lanes{});
        gain += g;
        tilt += g * dy;
        bend += g * (dy * dy);
      },
      [&](const SplatRecord& s, Lanes dx, int64_t slot) {
        float* to = task.pair_grads + slot * (kSplatShape + channels);
        const float sums[kSplatShape] = {sum(gain * dx), sum(tilt), sum(gain * dx * dx),
                                         sum(tilt * dx), sum(bend), sum(gain)};
        float shape[kSplatShape];
        splat_shape_grad(s, sums, shape);
        for (int i = 0; i < kSplatShape; ++i) to[i] = shift ? to[i] + shape[i] : shape[i];
        for (int i = 0; i < channels; ++i) {
          const float value = sum(gathered[i]);
          to[kSplatShape + i] = shift ? to[kSplatShape + i] + value : value;
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

}  // namespace

void splat_blend(const SplatBlendTask& task) {
  over_strips(
      task, [&](int64_t tile, int64_t shift, Lanes* scratch) { blend_strip<3>(task, tile, shift, scratch); },
      [&](int64_t tile, int64_t shift, Lanes* scratch) { blend_strip<4>(task, tile, shift, scratch); },
      [&](int64_t tile, int64_t shift, Lanes* scratch) { blend_strip<0>(task, tile, shift, scratch); });
}

void splat_blend_grad(const SplatBlendTask& task) {
  over_strips(
      task, [&](int64_t tile, int64_t shift, Lanes* scratch) { pull_strip<3>(task, tile, shift, scratch); },
      [&](int64_t tile, int64_t shift, Lanes* scratch) { pull_strip<4>(task, tile, shift, scratch); },
      [&](int64_t tile, int64_t shift, Lanes* scratch) { pull_strip<0>(task, tile, shift, scratch); });
#pragma omp parallel for schedule(static)
  for (int64_t k = 0; k < task.drawn_count; ++k) splat_gather_pairs(task, k);
}

}  // namespace volkit::VOLKIT_ISA
