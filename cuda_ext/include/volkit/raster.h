// Triangles on a picture, without clipping (Olano and Greer 1997): corners are homogeneous pixels h = (w x, w y, w), and for
// a pixel p = (x, y, 1) b' = [h0 h1 h2]^-1 p is barycentrics over depth, linear on the picture. What is inside has b' >= 0.
#pragma once

#include "volkit/fields.h"
#include "volkit/masks.h"

namespace volkit {

#define VOLKIT_RASTER_FIELDS(TENSOR, STRIDED, HOST, NUMBER)                         \
  TENSOR(const float, corners, faces * 9)  /* [face, 3, 3] */                       \
  NUMBER(int64_t, faces)                                                            \
  NUMBER(int64_t, width)                                                            \
  NUMBER(int64_t, height)                                                           \
  NUMBER(float, near)  /* of the depths that are drawn */                           \
  TENSOR(float, records, faces * 16)  /* [face, 16]: RasterRecord */                \
  TENSOR(int64_t, keys, height * width)  /* of the nearest face so far: on a GPU */ \
  TENSOR(int32_t, face, height * width)  /* -1: none */                             \
  TENSOR(float, barycentric, height * width * 3)  /* [height, width, 3] */          \
  TENSOR(float, depth, height * width)  /* inf: none */                             \
  TENSOR(const float, barycentric_grad, height * width * 3)                         \
  TENSOR(const float, depth_grad, height * width)                                   \
  TENSOR(float, sums, faces * 9)  /* [face, 9], zero */                             \
  TENSOR(float, corners_grad, faces * 9)  /* [face, 3, 3] */                        \
  TENSOR(const int32_t, opposite, faces * 3)  /* [face, 3]: corner of the neighbour beyond the edge that is opposite a corner, -1: none */ \
  TENSOR(int32_t, edges, 2 * height * width)  /* [2, height, width]: edge that ends the surface on the way to the right, or down */
VOLKIT_TASK(RasterTask, VOLKIT_RASTER_FIELDS)

}  // namespace volkit

namespace volkit::VOLKIT_ISA {

// Pixels by which a face is wider than it is: neighbours round the edge that they share differently, and none may miss it.
constexpr float kRasterSlack = 1e-4f;
constexpr int kRasterSteps = 16;  // faces on the way from one pixel to the next

struct RasterRecord {
  float rows[3][3];                // of [h0 h1 h2]^-1, for pixels counted from (left, top); 0: not drawn
  float left, top, right, bottom;  // first and last pixel that may be inside; right < left: none
  float spare[3];
};
static_assert(sizeof(RasterRecord) == 64);

VOLKIT_FN RasterRecord read_raster_record(const RasterTask& task, int64_t face) {
  RasterRecord record;
  __builtin_memcpy(&record, task.records + 16 * face, sizeof(record));
  return record;
}

VOLKIT_FN void cross_of(const double* a, const double* b, double* c) {
  c[0] = a[1] * b[2] - a[2] * b[1];
  c[1] = a[2] * b[0] - a[0] * b[2];
  c[2] = a[0] * b[1] - a[1] * b[0];
}

struct RasterBox {
  double low[2], high[2];
  VOLKIT_FN void add(const double* h, const double* k, double share) {
    const double w = h[2] + share * (k[2] - h[2]);
    for (int axis = 0; axis < 2; ++axis) {
      const double x = (h[axis] + share * (k[axis] - h[axis])) / w;
      low[axis] = smaller(low[axis], x);
      high[axis] = larger(high[axis], x);
    }
  }
};

// First and last pixel, of `count`, whose centre lies between two places; last < first where there is none.
VOLKIT_FN void raster_span(double low, double high, int64_t count, float* first, float* last) {
  const double from = larger(low - 0.5 - kRasterSlack, 0.0), to = smaller(high - 0.5 + kRasterSlack, double(count - 1));
  const int64_t begin = int64_t(smaller(from, double(count))), end = int64_t(larger(to, -1.0));
  *first = float(begin + (double(begin) < from));
  *last = float(to < 0.0 ? -1 : end);
}

// In double: what is nearly on its edge has a determinant that cancels.
VOLKIT_FN RasterRecord raster_record(const RasterTask& task, int64_t face) {
  RasterRecord record = {};
  record.right = -1.0f;
  double h[3][3];
  for (int i = 0; i < 9; ++i) h[i / 3][i % 3] = task.corners[9 * face + i];
  RasterBox box = {{1e30, 1e30}, {-1e30, -1e30}};
  for (int i = 0; i < 3; ++i) {
    const double *a = h[i], *b = h[(i + 1) % 3], near = task.near;
    if (a[2] >= near) box.add(a, a, 0.0);
    if ((a[2] >= near) != (b[2] >= near)) box.add(a, b, (near - a[2]) / (b[2] - a[2]));
  }
  // Nothing before the camera, or corners that are not numbers.
  if (!(box.low[0] <= box.high[0] && box.low[1] <= box.high[1])) return record;
  float left, top, right, bottom;
  raster_span(box.low[0], box.high[0], task.width, &left, &right);
  raster_span(box.low[1], box.high[1], task.height, &top, &bottom);
  for (int i = 0; i < 3; ++i) {
    h[i][0] -= (left + 0.5) * h[i][2];
    h[i][1] -= (top + 0.5) * h[i][2];
  }
  double rows[3][3];
  for (int i = 0; i < 3; ++i) cross_of(h[(i + 1) % 3], h[(i + 2) % 3], rows[i]);
  const double determinant = h[0][0] * rows[0][0] + h[0][1] * rows[0][1] + h[0][2] * rows[0][2];
  float total = 0.0f;
  for (int i = 0; i < 9; ++i) total += float(rows[i / 3][i % 3] / determinant);
  if (!(total - total == 0.0f)) return record;  // no area
  for (int i = 0; i < 9; ++i) record.rows[i / 3][i % 3] = float(rows[i / 3][i % 3] / determinant);
  record.left = left, record.top = top, record.right = right, record.bottom = bottom;
  if (bottom < top) record.right = left - 1.0f;
  return record;
}

// b' at pixels of one row, from the box's corner.
template <class T> struct RasterHere {
  T over[3];  // barycentrics over depth
  T nearness; // 1 / depth
};

template <class T> VOLKIT_FN RasterHere<T> raster_at(const RasterRecord& record, T x, float y) {
  RasterHere<T> here;
  for (int i = 0; i < 3; ++i) {
    const float* row = record.rows[i];
    here.over[i] = x * row[0] + (y * row[1] + row[2]);
  }
  here.nearness = here.over[0] + here.over[1] + here.over[2];
  return here;
}

VOLKIT_FN float magnitude(float x) { return x < 0.0f ? -x : x; }

// How far below zero b' of what is inside may be.
VOLKIT_FN float raster_slack(const RasterRecord& record, int i) {
  return -kRasterSlack * (magnitude(record.rows[i][0]) + magnitude(record.rows[i][1]));
}

// Writes what a pixel shows of its face.
VOLKIT_FN void raster_resolve(const RasterTask& task, int64_t x, int64_t y, int32_t face) {
  const int64_t pixel = y * task.width + x;
  task.face[pixel] = face;
  float* to = task.barycentric + 3 * pixel;
  if (face < 0) {
    to[0] = to[1] = to[2] = 0.0f;
    task.depth[pixel] = __builtin_inff();
    return;
  }
  const RasterRecord record = read_raster_record(task, face);
  const RasterHere<float> here = raster_at(record, float(x) - record.left, float(y) - record.top);
  const float depth = 1.0f / here.nearness;
  for (int i = 0; i < 3; ++i) to[i] = here.over[i] * depth;
  task.depth[pixel] = depth;
}

// What a pixel adds to its face's sums_ij = b_i / depth dL/db'_j, of which all gradients are made.
VOLKIT_FN void raster_pull(const RasterTask& task, int64_t pixel, float* part) {
  const float* b = task.barycentric + 3 * pixel;
  const float* g = task.barycentric_grad + 3 * pixel;
  const float common = g[0] * b[0] + g[1] * b[1] + g[2] * b[2] + task.depth_grad[pixel] * task.depth[pixel];
  for (int i = 0; i < 9; ++i) part[i] = b[i / 3] * (g[i % 3] - common);
}

// dL/dh_i = -sum_j sums_ij rows_j: from d(M^-1) = -M^-1 dM M^-1; then back from the box's corner.
VOLKIT_FN void raster_corners_grad(const RasterTask& task, int64_t face) {
  float* to = task.corners_grad + 9 * face;
  const RasterRecord record = read_raster_record(task, face);
  for (int i = 0; i < 3; ++i) {
    const float* sums = task.sums + 9 * face + 3 * i;
    float grad[3];
    for (int k = 0; k < 3; ++k) {
      grad[k] = -(sums[0] * record.rows[0][k] + sums[1] * record.rows[1][k] + sums[2] * record.rows[2][k]);
    }
    grad[2] -= (record.left + 0.5f) * grad[0] + (record.top + 0.5f) * grad[1];
    for (int k = 0; k < 3; ++k) to[3 * i + k] = grad[k];
  }
}

// Whether the surface ends, as seen, at the edge opposite corner i: nothing beyond it, or what turns back.
VOLKIT_FN bool raster_ends(const RasterTask& task, const RasterRecord& record, int32_t beyond, int i) {
  if (beyond < 0) return true;
  const float* h = task.corners + 3 * int64_t(beyond);
  const float x = h[0] - (record.left + 0.5f) * h[2], y = h[1] - (record.top + 0.5f) * h[2];
  return record.rows[i][0] * x + record.rows[i][1] * y + record.rows[i][2] * h[2] > 0.0f;
}

// The edge at which the surface that a pixel shows ends before the next one, `step` along an axis; -1: it does not.
VOLKIT_FN int32_t raster_edge(const RasterTask& task, int64_t x, int64_t y, int axis, float step, int32_t face) {
  for (int k = 0; k < kRasterSteps; ++k) {
    const RasterRecord record = read_raster_record(task, face);
    const RasterHere<float> here = raster_at(record, float(x) - record.left, float(y) - record.top);
    int leaves = -1;
    float first = 1.0f;
    for (int i = 0; i < 3; ++i) {
      const float slope = -step * record.rows[i][axis];
      if (slope > larger(here.over[i], 0.0f) && here.over[i] < first * slope) {
        first = here.over[i] / slope;
        leaves = i;
      }
    }
    if (leaves < 0) return -1;
    const int32_t edge = 3 * face + leaves, beyond = task.opposite[edge];
    if (raster_ends(task, record, beyond, leaves)) return edge;
    face = beyond / 3;
  }
  return -1;
}

// Of two neighbours that show different faces, the nearer one's surface may end between them.
VOLKIT_FN void raster_edges_at(const RasterTask& task, int64_t x, int64_t y) {
  const int64_t pixel = y * task.width + x, plane = task.width * task.height;
  for (int axis = 0; axis < 2; ++axis) {
    int32_t* to = task.edges + axis * plane + pixel;
    *to = -1;
    if (axis == 0 ? x + 1 == task.width : y + 1 == task.height) continue;
    const int64_t next = pixel + (axis == 0 ? 1 : task.width);
    const int32_t mine = task.face[pixel], other = task.face[next];
    if (mine == other) continue;
    if (task.depth[pixel] <= task.depth[next]) {
      *to = raster_edge(task, x, y, axis, 1.0f, mine);
    } else {
      *to = raster_edge(task, x + (axis == 0), y + (axis == 1), axis, -1.0f, other);
    }
  }
}

}  // namespace volkit::VOLKIT_ISA
