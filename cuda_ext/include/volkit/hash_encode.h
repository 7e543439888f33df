// Multiresolution hash encoding (Mueller et al. 2022), laid out and indexed as tiny-cuda-nn does:
//   p = x scale + 1/2,  cell = floor(p),  entry = x + y r + z r^2  where r^3 entries fit, else
//   entry = (x ^ y 2654435761 ^ z 805459861) mod size,  value = trilinear in p - cell.
// Positions outside [0, 1] take the value at the nearest point of the box; NaN gives NaN and reads inside the table.
#pragma once

#include "volkit/fields.h"
#include "volkit/lanes.h"

namespace volkit {

struct HashLevel {
  float scale;
  uint32_t resolution;
  uint32_t offset;  // first entry of the level in the table
  uint32_t size;    // entries: a power of two where hashed
};

#define VOLKIT_HASH_ENCODE_FIELDS(TENSOR, STRIDED, HOST, NUMBER)                              \
  TENSOR(const float, positions, points * 3)  /* [point, 3] */                                \
  TENSOR(const void, table, entries * features)  /* [entry, feature], float32 or float16 */   \
  TENSOR(float, out, level_count * features * points)  /* [level * feature, point]: planar */ \
  HOST(const HashLevel, levels, level_count)  /* [level] */                                   \
  NUMBER(int64_t, points)                                                                     \
  NUMBER(int64_t, level_count)                                                                \
  NUMBER(int64_t, features)                                                                   \
  NUMBER(int64_t, entries)                                                                    \
  NUMBER(int64_t, half)  /* the table is float16 */
VOLKIT_TASK(HashEncodeTask, VOLKIT_HASH_ENCODE_FIELDS)

// The table's gradient: corners receive the incoming gradient times their weight.
#define VOLKIT_HASH_SCATTER_FIELDS(TENSOR, STRIDED, HOST, NUMBER)                                        \
  TENSOR(const float, positions, points * 3)  /* [point, 3] */                                           \
  TENSOR(const float, grad_out, level_count * features * points)  /* [level * feature, point]: planar */ \
  TENSOR(float, grad_table, entries * features)  /* [entry, feature], added to */                        \
  HOST(const HashLevel, levels, level_count)  /* [level] */                                              \
  NUMBER(int64_t, points)                                                                                \
  NUMBER(int64_t, level_count)                                                                           \
  NUMBER(int64_t, features)                                                                              \
  NUMBER(int64_t, entries)
VOLKIT_TASK(HashScatterTask, VOLKIT_HASH_SCATTER_FIELDS)

// The positions' gradient.
#define VOLKIT_HASH_SLOPES_FIELDS(TENSOR, STRIDED, HOST, NUMBER)                                         \
  TENSOR(const float, positions, points * 3)  /* [point, 3] */                                           \
  TENSOR(const void, table, entries * features)  /* [entry, feature], float32 or float16 */              \
  TENSOR(const float, grad_out, level_count * features * points)  /* [level * feature, point]: planar */ \
  TENSOR(float, grad_positions, points * 3)  /* [point, 3], written */                                   \
  HOST(const HashLevel, levels, level_count)  /* [level] */                                              \
  NUMBER(int64_t, points)                                                                                \
  NUMBER(int64_t, level_count)                                                                           \
  NUMBER(int64_t, features)                                                                              \
  NUMBER(int64_t, entries)                                                                               \
  NUMBER(int64_t, half)  /* the table is float16 */
VOLKIT_TASK(HashSlopesTask, VOLKIT_HASH_SLOPES_FIELDS)

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
