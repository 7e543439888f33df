// Rasterising on a CPU: a thread owns bands of rows, goes over the faces that reach them in their order, and keeps what is
// nearest, a vector of pixels at a time. Of gradients a thread owns faces, and adds up their pixels in order. So there are
// no atomics, and the number of threads changes nothing.
#include <omp.h>

#include <cstdlib>

#include "volkit/raster.h"

namespace volkit::VOLKIT_ISA {
namespace {

constexpr int64_t kBand = 16;  // rows
constexpr int64_t kFew = 256;  // faces that are not worth a thread

// Which faces reach which band, in their order.
struct Bands {
  int64_t count;
  int64_t* ends;   // [band + 1]
  int32_t* faces;

  explicit Bands(const RasterTask& task) : count((task.height + kBand - 1) / kBand) {
    ends = static_cast<int64_t*>(std::calloc(count + 2, sizeof(int64_t)));
    over(task, [&](int64_t, int64_t band) { ++ends[band + 2]; });
    for (int64_t band = 0; band < count; ++band) ends[band + 2] += ends[band + 1];
    faces = static_cast<int32_t*>(std::malloc(sizeof(int32_t) * (ends[count + 1] + 1)));
    over(task, [&](int64_t face, int64_t band) { faces[ends[band + 1]++] = int32_t(face); });
  }
  ~Bands() {
    std::free(ends);
    std::free(faces);
  }

  template <class F> void over(const RasterTask& task, const F& f) const {
    for (int64_t face = 0; face < task.faces; ++face) {
      const float* box = task.records + 16 * face + 9;  // left, top, right, bottom
      if (box[2] < box[0]) continue;
      for (int64_t band = int64_t(box[1]) / kBand; band <= int64_t(box[3]) / kBand; ++band) f(face, band);
    }
  }
};

// Keeps what of a face is nearer than what there is, on one row.
VOLKIT_FN void cover_row(const RasterTask& task, const RasterRecord& record, const Lanes* slack, int32_t face, int64_t y,
                         float* nearest) {
  const float highest = 1.0f / task.near;
  const int64_t last = int64_t(record.right);
  for (int64_t x = int64_t(record.left); x <= last; x += kLanes) {
    const Lanes at = lane_numbers(Lanes{}) + (float(x) - record.left);
    const RasterHere<Lanes> here = raster_at(record, at, float(y) - record.top);
    LanesI inside = (here.over[0] >= slack[0]) & (here.over[1] >= slack[1]) & (here.over[2] >= slack[2]);
    inside &= (here.nearness > load(nearest + x)) & (here.nearness <= highest);
    uint32_t bits = lane_bits(inside);
    if (last - x < kLanes - 1) bits &= (2u << (last - x)) - 1u;
    for (; bits; bits &= bits - 1) {
      const int i = __builtin_ctz(bits);
      nearest[x + i] = here.nearness[i];
      task.face[y * task.width + x + i] = face;
    }
  }
}

void draw_band(const RasterTask& task, const Bands& bands, int64_t band, float* nearest) {
  const int64_t first = band * kBand, end = smaller(first + kBand, task.height), stride = task.width + kLanes;
  for (int64_t i = 0; i < stride * (end - first); ++i) nearest[i] = 0.0f;
  for (int64_t pixel = first * task.width; pixel < end * task.width; ++pixel) task.face[pixel] = -1;
  for (int64_t k = bands.ends[band]; k < bands.ends[band + 1]; ++k) {
    const int32_t face = bands.faces[k];
    const RasterRecord record = read_raster_record(task, face);
    Lanes slack[3];
    for (int i = 0; i < 3; ++i) slack[i] = broadcast(raster_slack(record, i));
    const int64_t top = larger(first, int64_t(record.top)), bottom = smaller(end - 1, int64_t(record.bottom));
    for (int64_t y = top; y <= bottom; ++y) cover_row(task, record, slack, face, y, nearest + (y - first) * stride);
  }
  for (int64_t y = first; y < end; ++y) {
    for (int64_t x = 0; x < task.width; ++x) raster_resolve(task, x, y, task.face[y * task.width + x]);
  }
}

}  // namespace

void raster(const RasterTask& task) {
#pragma omp parallel for schedule(static) if (task.faces > kFew)
  for (int64_t face = 0; face < task.faces; ++face) {
    const RasterRecord record = raster_record(task, face);
    __builtin_memcpy(task.records + 16 * face, &record, sizeof(record));
  }
  const Bands bands(task);
#pragma omp parallel
  {
    float* nearest = static_cast<float*>(std::malloc(sizeof(float) * kBand * (task.width + kLanes)));
#pragma omp for schedule(dynamic)
    for (int64_t band = 0; band < bands.count; ++band) draw_band(task, bands, band, nearest);
    std::free(nearest);
  }
}

void raster_grad(const RasterTask& task) {
  const int64_t pixels = task.width * task.height;
#pragma omp parallel
  {
    const int32_t threads = omp_get_num_threads(), thread = omp_get_thread_num();
    for (int64_t pixel = 0; pixel < pixels; ++pixel) {
      const int32_t face = task.face[pixel];
      if (face < 0 || face % threads != thread) continue;
      float part[9];
      raster_pull(task, pixel, part);
      float* sums = task.sums + 9 * int64_t(face);
      for (int i = 0; i < 9; ++i) sums[i] += part[i];
    }
#pragma omp barrier
#pragma omp for schedule(static)
    for (int64_t face = 0; face < task.faces; ++face) raster_corners_grad(task, face);
  }
}

void raster_edges(const RasterTask& task) {
#pragma omp parallel for schedule(dynamic, 16)
  for (int64_t y = 0; y < task.height; ++y) {
    for (int64_t x = 0; x < task.width; ++x) raster_edges_at(task, x, y);
  }
}

}  // namespace volkit::VOLKIT_ISA
