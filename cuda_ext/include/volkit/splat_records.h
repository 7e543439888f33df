// Projected splats as blending reads them: an ellipse (a 3D Gaussian) or a surfel (a 2D Gaussian in space, which each
// pixel's ray meets); splat_footprint.h has their formulas.
#pragma once

#include "volkit/fields.h"
#include "volkit/masks.h"

namespace volkit {

constexpr int64_t splat_tile_count(int64_t width, int64_t height, int64_t tile) {
  return ((width + tile - 1) / tile) * ((height + tile - 1) / tile);
}

// Floats of a record, 8 of an ellipse or 16 of a surfel and its channels to a multiple of 4.
constexpr int64_t splat_record_size(int64_t columns, int64_t channels) {
  return (columns == 6 ? 16 : 8) + (channels + 3) / 4 * 4;
}

// Floats that a pair of splat and tile gathers on the way back: PairSums and the channels.
constexpr int64_t splat_pair_size(int64_t columns, int64_t channels) { return (columns == 6 ? 11 : 6) + channels; }

#define VOLKIT_SPLAT_BLEND_FIELDS(TENSOR, STRIDED, HOST, NUMBER)                                       \
  TENSOR(const float, means, splats * 2)  /* [splat, 2], pixels */                                     \
  TENSOR(const float, shapes, splats * columns)  /* [splat, column]: 3 of an ellipse, 6 of a surfel */ \
  TENSOR(const float, opacities, splats)  /* [splat] */                                                \
  TENSOR(const float, depths, splats)  /* [splat] */                                                   \
  TENSOR(const float, channels, splats * channel_count)  /* [splat, channel] */                        \
  TENSOR(const float, extents, splats * 2)  /* [splat, 2] */                                           \
  NUMBER(int64_t, splats)                                                                              \
  NUMBER(int64_t, drawn_count)                                                                         \
  NUMBER(int64_t, columns)                                                                             \
  NUMBER(int64_t, channel_count)                                                                       \
  NUMBER(int64_t, varies_with_pixel)  /* whether the last channel is depth, which a surfel shows where a ray meets it */ \
  NUMBER(int64_t, width)                                                                               \
  NUMBER(int64_t, height)                                                                              \
  NUMBER(int64_t, tile)                                                                                \
  NUMBER(int64_t, chunks)                                                                              \
  NUMBER(int64_t, pairs)                                                                               \
  TENSOR(int32_t, order, drawn_count)  /* [drawn], near to far */                                      \
  TENSOR(int64_t, drawn, 1)  /* [1]: how many */                                                       \
  TENSOR(int32_t, scratch, 4 * splats)  /* [4 splats] */                                               \
  TENSOR(float, records, splats * splat_record_size(columns, channel_count))  /* [splat, stride]; of splats that are not drawn anything */ \
  TENSOR(int32_t, counts, chunks * splat_tile_count(width, height, tile))  /* [chunk, tile]: pairs */  \
  TENSOR(int64_t, slots, drawn_count + 1)  /* tiles of the splat at place k in slots[k + 1], later their running sum */ \
  TENSOR(const int64_t, starts, splat_tile_count(width, height, tile) * chunks + 1)  /* where a chunk's part of a tile's list begins */ \
  TENSOR(const int64_t, ends, splat_tile_count(width, height, tile) + 1)  /* [tile + 1] */             \
  TENSOR(int32_t, list, pairs * 2)  /* [pair, 2]: number of the splat, number of the pair */           \
  TENSOR(float, picture, channel_count * height * width)  /* [channel, height, width] */               \
  TENSOR(float, opacity, height * width)                                                               \
  TENSOR(float, median, height * width)                                                                \
  TENSOR(const float, picture_grad, channel_count * height * width)  /* as picture */                  \
  TENSOR(const float, opacity_grad, height * width)                                                    \
  TENSOR(float, pair_sums, pairs * splat_pair_size(columns, channel_count))  /* [pair, sum + channel]: see splat_footprint.h */ \
  TENSOR(float, means_grad, splats * 2)  /* [splat, 2] */                                              \
  TENSOR(float, shapes_grad, splats * columns)  /* [splat, column] */                                  \
  TENSOR(float, opacities_grad, splats)  /* [splat] */                                                 \
  TENSOR(float, channels_grad, splats * channel_count)  /* [splat, channel] */
VOLKIT_TASK(SplatBlendTask, VOLKIT_SPLAT_BLEND_FIELDS)

}  // namespace volkit

namespace volkit::VOLKIT_ISA {

constexpr float kLog2E = 1.44269504f;
constexpr float kSplatFilter = 0.5f;     // pixel^2: variance of the filter of surfels (2DGS, gsplat)
constexpr float kSplatThin = 1e-3f;      // pixels: a surfel that is thinner, seen on its edge, has no face
constexpr float kSplatHorizon = 1e-3f;   // of the way to the camera's plane: a surfel that comes nearer may be anywhere
constexpr float kSplatAnywhere = 1e12f;  // pixel^2
constexpr float kSplatFaintestPower = -7.99435344f;  // log2(1/255): alpha below that is not drawn (3DGS, gsplat)

// What a tile reads of a splat, in one or two cache lines; its channels follow. The logarithm of alpha to base 2 is
// lift + a dx^2 + b dx dy + c dy^2.
struct EllipseRecord {
  static constexpr int kColumns = 3;
  static constexpr bool kDepthVaries = false;
  float x, y, a, b, c, lift;
  float rise, run;  // -b / 2c, -b / 2a: where the ellipse is highest above some dx, farthest beside some dy
};

// It begins with an ellipse that holds all that is drawn of it.
struct SurfelRecord : EllipseRecord {
  static constexpr int kColumns = 6;
  static constexpr bool kDepthVaries = true;
  float uu, uv, vu, vv, ku, kv;  // P^-1, kappa
  float spare[2];
};

VOLKIT_FN bool has_surfels(const SplatBlendTask& task) { return task.columns == SurfelRecord::kColumns; }
VOLKIT_FN int64_t splat_header(const SplatBlendTask& task) {
  return int64_t(has_surfels(task) ? sizeof(SurfelRecord) : sizeof(EllipseRecord)) / 4;
}
VOLKIT_FN int64_t splat_stride(const SplatBlendTask& task) { return splat_header(task) + (task.channel_count + 3) / 4 * 4; }

#if defined(__CUDACC__)
VOLKIT_FN float log2_of_one(float x) { return log2f(x); }
#else
VOLKIT_FN float log2_of_one(float x) { return __builtin_log2f(x); }
#endif

// By how much the variance of a surfel grows that bounds it in perspective: the ray that leaves it at sqrt(reach)
// standard deviations towards the camera is 1 / (1 - sqrt(reach) |kappa|) times as far off on the picture. 0: anywhere.
template <class T> VOLKIT_FN T surfel_growth(T reach, T ku, T kv) {
  const T far = 1.0f - square_root(reach * (ku * ku + kv * kv));
  return select(far > kSplatHorizon * one<T>(), 1.0f / (far * far), zero<T>());
}

VOLKIT_FN EllipseRecord ellipse_record(const SplatBlendTask& task, int64_t i, float xx, float xy, float yy) {
  return {task.means[2 * i],  task.means[2 * i + 1],           -0.5f * kLog2E * xx, -kLog2E * xy, -0.5f * kLog2E * yy,
          log2_of_one(task.opacities[i]), -xy / yy, -xy / xx};
}

VOLKIT_FN SurfelRecord surfel_record(const SplatBlendTask& task, int64_t i) {
  const float* s = task.shapes + SurfelRecord::kColumns * i;
  const float determinant = s[0] * s[3] - s[1] * s[2];
  const float reach = 2.0f / kLog2E * log2_of_one(task.opacities[i] * 255.0f);
  const float growth = surfel_growth(reach, s[4], s[5]);
  const float thin_xx = s[0] * s[0] + s[1] * s[1], thin_yy = s[2] * s[2] + s[3] * s[3];
  const float xx = growth * thin_xx + kSplatFilter, yy = growth * thin_yy + kSplatFilter;
  const float xy = growth * (s[0] * s[2] + s[1] * s[3]);
  // Without the cancellation of xx yy - xy^2.
  const float area = growth * determinant, over = 1.0f / (area * area + kSplatFilter * (xx + yy - kSplatFilter));
  SurfelRecord r;
  if (growth > 0.0f) {
    static_cast<EllipseRecord&>(r) = ellipse_record(task, i, yy * over, -xy * over, xx * over);
  } else {
    static_cast<EllipseRecord&>(r) = ellipse_record(task, i, 1.0f / kSplatAnywhere, 0.0f, 1.0f / kSplatAnywhere);
  }
  // Without a face only the filter draws: pixels that lie on the thin line by chance must not show all of it.
  const bool face = determinant * determinant > kSplatThin * kSplatThin * (thin_xx + thin_yy);
  const float inverse = face ? 1.0f / determinant : 0.0f, nowhere = face ? 0.0f : 1e6f;
  r.uu = s[3] * inverse + nowhere;
  r.uv = -s[1] * inverse;
  r.vu = -s[2] * inverse;
  r.vv = s[0] * inverse + nowhere;
  r.ku = face ? s[4] : 0.0f;
  r.kv = face ? s[5] : 0.0f;
  r.spare[0] = r.spare[1] = 0.0f;
  return r;
}

// Writes the record of splat i, and its channels behind it.
VOLKIT_FN void put_record(const SplatBlendTask& task, int64_t i) {
  const int64_t channels = task.channel_count;
  float* record = task.records + i * splat_stride(task);
  if (has_surfels(task)) {
    *reinterpret_cast<SurfelRecord*>(record) = surfel_record(task, i);
  } else {
    const float* conic = task.shapes + EllipseRecord::kColumns * i;
    *reinterpret_cast<EllipseRecord*>(record) = ellipse_record(task, i, conic[0], conic[1], conic[2]);
  }
  float* values = record + splat_header(task);
  for (int64_t c = 0; c < channels; ++c) values[c] = task.channels[i * channels + c];
}

template <class Record> VOLKIT_FN const Record& record_at(const float* at) { return *reinterpret_cast<const Record*>(at); }
template <class Record> VOLKIT_FN const float* values_of(const float* at) { return at + sizeof(Record) / sizeof(float); }

}  // namespace volkit::VOLKIT_ISA
