// Trilinear reading of a sparse voxel grid: links [x, y, z] -> row, rows [row, channel]; a missing corner counts as 0.
#pragma once

#include "volkit/fields.h"
#include "volkit/lanes.h"

namespace volkit {

#define VOLKIT_VOXEL_FIELDS(TENSOR, STRIDED, HOST, NUMBER)                                  \
  TENSOR(const float, positions, points * 3)  /* [point, 3], grid coordinates */            \
  NUMBER(int64_t, points)                                                                   \
  TENSOR(const int32_t, links, size_x * size_y * size_z)  /* [size_x, size_y, size_z] */    \
  NUMBER(int64_t, size_x)                                                                   \
  NUMBER(int64_t, size_y)                                                                   \
  NUMBER(int64_t, size_z)                                                                   \
  TENSOR(const float, data, rows * channels)  /* [row, channel] */                          \
  NUMBER(int64_t, rows)                                                                     \
  NUMBER(int64_t, channels)                                                                 \
  TENSOR(float, output, points * channels)  /* [point, channel] */                          \
  TENSOR(const float, grad, points * channels)  /* [point, channel] */                      \
  TENSOR(float, data_grad, rows * channels)  /* [row, channel], added to */                 \
  TENSOR(float, position_grad, points * 3)  /* [point, 3] */                                \
  TENSOR(int32_t, scratch, points * 8)  /* [point, 8], for the gradient of data on a CPU */
VOLKIT_TASK(VoxelTask, VOLKIT_VOXEL_FIELDS)

}  // namespace volkit

namespace volkit::VOLKIT_ISA {

struct VoxelAxis {
  int32_t cell, step;  // the lower corner, and how far the upper one is (0 on an axis of one voxel)
  float fraction;
  bool moves;          // false where the clamp holds the point
};

VOLKIT_FN VoxelAxis voxel_axis(float x, int64_t size) {
  const float last = static_cast<float>(size - 1);
  // NaN compares false: it becomes cell 0 and stays in the fraction.
  const float clamped = x > 0.0f ? smaller(x, last) : 0.0f;
  VoxelAxis axis;
  axis.cell = larger(smaller(int32_t(clamped), int32_t(size) - 2), 0);
  axis.step = size > 1;
  axis.fraction = x == x ? clamped - axis.cell : x;
  axis.moves = x > 0.0f && x < last;
  return axis;
}

// The eight corners of one point: rows (below 0: none) and trilinear weights, corner = 4 x + 2 y + z.
struct VoxelCorners {
  VoxelAxis axis[3];
  int32_t row[8];
};

VOLKIT_FN VoxelCorners voxel_corners(const VoxelTask& task, int64_t point) {
  const float* at = task.positions + 3 * point;
  VoxelCorners corners{{voxel_axis(at[0], task.size_x), voxel_axis(at[1], task.size_y), voxel_axis(at[2], task.size_z)}, {}};
  const VoxelAxis &x = corners.axis[0], &y = corners.axis[1], &z = corners.axis[2];
  const int32_t* link = task.links + (int64_t(x.cell) * task.size_y + y.cell) * task.size_z + z.cell;
  const int64_t next_x = x.step * task.size_y * task.size_z, next_y = y.step * task.size_z;
  VOLKIT_UNROLL
  for (int k = 0; k < 8; ++k) {
    const int32_t row = link[(k & 4 ? next_x : 0) + (k & 2 ? next_y : 0) + (k & 1 ? z.step : 0)];
    // A link beyond the rows is a broken grid; reading it as empty keeps the process alive.
    corners.row[k] = row < task.rows ? row : -1;
  }
  return corners;
}

VOLKIT_FN float voxel_weight(const VoxelAxis* axis, int k) {
  const float x = axis[0].fraction, y = axis[1].fraction, z = axis[2].fraction;
  return (k & 4 ? x : 1.0f - x) * (k & 2 ? y : 1.0f - y) * (k & 1 ? z : 1.0f - z);
}

// Adds d(weight of corner k)/d(position) times `pull` to a gradient of three numbers.
VOLKIT_FN void voxel_pull(const VoxelAxis* axis, int k, float pull, float* grad) {
  const float x = k & 4 ? axis[0].fraction : 1.0f - axis[0].fraction;
  const float y = k & 2 ? axis[1].fraction : 1.0f - axis[1].fraction;
  const float z = k & 1 ? axis[2].fraction : 1.0f - axis[2].fraction;
  if (axis[0].moves) grad[0] += (k & 4 ? pull : -pull) * y * z;
  if (axis[1].moves) grad[1] += (k & 2 ? pull : -pull) * x * z;
  if (axis[2].moves) grad[2] += (k & 1 ? pull : -pull) * x * y;
}

}  // namespace volkit::VOLKIT_ISA
