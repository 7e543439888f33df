// Multiresolution hash encoding (Mueller et al. 2022), laid out and indexed as tiny-cuda-nn does:
//   p = x scale + 1/2,  cell = floor(p),  entry = x + y r + z r^2  where r^3 entries fit, else
//   entry = (x ^ y 2654435761 ^ z 805459861) mod size,  value = trilinear in p - cell.
// Positions outside [0, 1] take the value at the nearest point of the box; NaN gives NaN and reads inside the table.
#pragma once

#include "volkit/lanes.h"

namespace volkit {

struct HashLevel {
  float scale;
  uint32_t resolution;
  uint32_t offset;  // first entry of the level in the table
  uint32_t size;    // entries: a power of two where hashed
};

struct HashEncodeTask {
  const float* positions;   // [point, 3]
  const void* table;        // [entry, feature], float32 or float16
  float* out;               // [level * feature, point]: planar
  const HashLevel* levels;  // [level], in host memory
  int64_t points;
  int64_t level_count;
  int64_t features;
  int64_t half;  // the table is float16
};

// The table's gradient: corners receive the incoming gradient times their weight.
struct HashScatterTask {
  const float* positions;   // [point, 3]
  const float* grad_out;    // [level * feature, point]: planar
  float* grad_table;        // [entry, feature], added to
  const HashLevel* levels;  // [level], in host memory
  int64_t points;
  int64_t level_count;
  int64_t features;
};

// The positions' gradient.
struct HashSlopesTask {
  const float* positions;   // [point, 3]
  const void* table;        // [entry, feature], float32 or float16
  const float* grad_out;    // [level * feature, point]: planar
  float* grad_positions;    // [point, 3], written
  const HashLevel* levels;  // [level], in host memory
  int64_t points;
  int64_t level_count;
  int64_t features;
  int64_t half;
};

}  // namespace volkit

namespace volkit::VOLKIT_ISA {

constexpr int kMaxLevels = 32;  // as many as a CUDA kernel takes by value
constexpr uint32_t kHashY = 2654435761u, kHashZ = 805459861u;

VOLKIT_FN bool is_dense(const HashLevel& level) {
  const uint64_t r = level.resolution;
  return r * r * r <= level.size;
}

template <class T> struct Place {
  IndexOf<T> x, y, z;  // cell
  T fx, fy, fz;        // where in the cell, 0 to 1
};

template <class T> VOLKIT_FN T on_axis(T x, float scale) {
  const T inside = select(x < zero<T>(), zero<T>(), select(x > one<T>(), one<T>(), x));
  return inside * scale + 0.5f;
}

// NaN compares false and lands in cell 0; the fraction keeps it.
template <class T> VOLKIT_FN IndexOf<T> cell_of(T p) { return truncate(select(p >= zero<T>(), p, zero<T>())); }

template <class T> VOLKIT_FN Place<T> place(T x, T y, T z, const HashLevel& level) {
  const T px = on_axis(x, level.scale), py = on_axis(y, level.scale), pz = on_axis(z, level.scale);
  Place<T> at;
  at.x = cell_of(px), at.y = cell_of(py), at.z = cell_of(pz);
  at.fx = px - to_float(at.x), at.fy = py - to_float(at.y), at.fz = pz - to_float(at.z);
  return at;
}

// The part of an entry's index that the corners (dy, dz) of a cell share for both of their x.
template <class T, bool kDense> VOLKIT_FN IndexOf<T> row_of(const Place<T>& at, uint32_t dy, uint32_t dz, uint32_t r) {
  if constexpr (kDense) return (at.y + dy) * r + (at.z + dz) * (r * r);
  return ((at.y + dy) * kHashY) ^ ((at.z + dz) * kHashZ);
}

template <class T, bool kDense>
VOLKIT_FN IndexOf<T> entry_of(const Place<T>& at, IndexOf<T> row, uint32_t dx, uint32_t size) {
  if constexpr (kDense) {
    // The far corner of the last cell runs over by less than one table; tiny-cuda-nn wraps it with a modulus.
    const IndexOf<T> entry = at.x + dx + row;
    return smaller(entry, entry - size);
  }
  return ((at.x + dx) ^ row) & (size - 1u);
}

}  // namespace volkit::VOLKIT_ISA
