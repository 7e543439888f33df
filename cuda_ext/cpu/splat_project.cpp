// Projection on a CPU: as many splats at once as a vector has lanes, read and written row by row.
#include <omp.h>

#include "volkit/splat_ellipse.h"
#include "volkit/splat_surfel.h"

namespace volkit::VOLKIT_ISA {
namespace {

// Column `c` of rows [first, first + kLanes) of a matrix; the last row again where there are fewer.
VOLKIT_FN Lanes column(const float* rows, int64_t stride, int64_t c, const int64_t* row) {
  Lanes x;
  for (int i = 0; i < kLanes; ++i) x[i] = rows[row[i] * stride + c];
  return x;
}

VOLKIT_FN void put_column(float* rows, int64_t stride, int64_t c, int64_t first, int count, Lanes x) {
  for (int i = 0; i < count; ++i) rows[(first + i) * stride + c] = x[i];
}

struct Pack {
  int64_t first, row[kLanes];
  int count;
  Splat<Lanes> splat;
};

template <int axes> VOLKIT_FN Pack read_pack(const SplatProjectTask& task, int64_t first) {
  Pack pack;
  pack.first = first;
  pack.count = int(smaller<int64_t>(kLanes, task.splats - first));
  for (int i = 0; i < kLanes; ++i) pack.row[i] = first + smaller(i, pack.count - 1);
  for (int c = 0; c < 3; ++c) pack.splat.mean[c] = column(task.means, 3, c, pack.row);
  for (int c = 0; c < 4; ++c) pack.splat.quaternion[c] = column(task.quaternions, 4, c, pack.row);
  for (int c = 0; c < axes; ++c) pack.splat.log_scale[c] = column(task.log_scales, axes, c, pack.row);
  pack.splat.logit = column(task.logits, 1, 0, pack.row);
  return pack;
}

// The direction from the camera to each splat, and one over its length.
VOLKIT_FN Direction<Lanes> viewing_direction(const SplatProjectTask& task, const Splat<Lanes>& s, Lanes& inverse) {
  const float* w = task.pose;
  Lanes d[3];
  for (int j = 0; j < 3; ++j) d[j] = s.mean[j] + (w[j] * w[3] + w[4 + j] * w[7] + w[8 + j] * w[11]);
  inverse = 1.0f / larger_of(square_root(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]), broadcast(1e-12f));
  return {d[0] * inverse, d[1] * inverse, d[2] * inverse};
}

// What colour was before it was held at 0.
VOLKIT_FN void raw_colour(const SplatProjectTask& task, const Pack& pack, const Lanes* basis, Lanes* colour) {
  for (int c = 0; c < 3; ++c) colour[c] = basis[0] * column(task.sh_dc, 3, c, pack.row) + 0.5f;
  for (int64_t k = 0; k < task.rest; ++k) {
    for (int c = 0; c < 3; ++c) colour[c] += basis[k + 1] * column(task.sh_rest, 3 * task.rest, 3 * k + c, pack.row);
  }
}

template <class Shape> VOLKIT_FN void project_pack(const SplatProjectTask& task, int64_t first) {
  const Pack pack = read_pack<Shape::kAxes>(task, first);
  Shape p;
  splat_see(task, pack.splat, p);
  Lanes ex, ey, inverse, basis[kHarmonics], colour[3], shape[Shape::kColumns];
  const LanesI on = splat_extents(task, p, ex, ey);
  const Direction<Lanes> d = viewing_direction(task, pack.splat, inverse);
  harmonics(harmonics_degree(task.rest), d.x, d.y, d.z, basis);
  raw_colour(task, pack, basis, colour);
  splat_shape(p, shape);
  const auto put = [&](float* rows, int stride, int c, Lanes value) {
    put_column(rows, stride, c, first, pack.count, select(on, value, Lanes{}));
  };
  put(task.means2d, 2, 0, p.x);
  put(task.means2d, 2, 1, p.y);
  for (int c = 0; c < Shape::kColumns; ++c) put(task.shapes, Shape::kColumns, c, shape[c]);
  put(task.opacities, 1, 0, p.opacity);
  put(task.depths, 1, 0, p.local[2]);
  for (int c = 0; c < 3; ++c) put(task.colours, 3, c, larger_of(colour[c], Lanes{}));
  put(task.extents, 2, 0, ex);
  put(task.extents, 2, 1, ey);
}

// Colour's part of the way back: harmonics' own gradients, and dL/d(mean) through the direction.
VOLKIT_FN void pull_colour(const SplatProjectTask& task, const Pack& pack, LanesI on, SplatGrad<Lanes>& g) {
  Lanes inverse, basis[kHarmonics], colour[3], arrived[3], pull[kHarmonics];
  const Direction<Lanes> d = viewing_direction(task, pack.splat, inverse);
  const int degree = harmonics_degree(task.rest);
  harmonics(degree, d.x, d.y, d.z, basis);
  raw_colour(task, pack, basis, colour);
  for (int c = 0; c < 3; ++c) {
    const Lanes grad = column(task.colours_grad, 3, c, pack.row);
    arrived[c] = select(on & (colour[c] > 0.0f), grad, Lanes{});
    put_column(task.sh_dc_grad, 3, c, pack.first, pack.count, basis[0] * arrived[c]);
  }
  pull[0] = Lanes{};
  for (int64_t k = 0; k < task.rest; ++k) {
    pull[k + 1] = Lanes{};
    for (int c = 0; c < 3; ++c) {
      pull[k + 1] += arrived[c] * column(task.sh_rest, 3 * task.rest, 3 * k + c, pack.row);
      put_column(task.sh_rest_grad, 3 * task.rest, 3 * k + c, pack.first, pack.count, basis[k + 1] * arrived[c]);
    }
  }
  const Direction<Lanes> v = harmonics_grad(degree, d.x, d.y, d.z, pull);
  const Lanes along = v.x * d.x + v.y * d.y + v.z * d.z;
  g.direction[0] = (v.x - along * d.x) * inverse;
  g.direction[1] = (v.y - along * d.y) * inverse;
  g.direction[2] = (v.z - along * d.z) * inverse;
}

VOLKIT_FN void add_camera(const Pack& pack, const SplatGrad<Lanes>& g, double* sums) {
  for (int lane = 0; lane < pack.count; ++lane) {
    for (int i = 0; i < 3; ++i) {
      for (int j = 0; j < 3; ++j) {
        sums[3 * i + j] += double(g.rotation[3 * i + j][lane]) + double(g.local[i][lane]) * pack.splat.mean[j][lane];
      }
      sums[9 + i] += g.local[i][lane];
      sums[12 + i] -= g.direction[i][lane];
    }
  }
}

template <class Shape> VOLKIT_FN void pull_pack(const SplatProjectTask& task, int64_t first, double* sums) {
  const Pack pack = read_pack<Shape::kAxes>(task, first);
  Shape p;
  splat_see(task, pack.splat, p);
  Lanes ex, ey, mean_grad[2], shape[Shape::kColumns];
  const LanesI on = splat_extents(task, p, ex, ey);
  const auto arrived = [&](const float* rows, int stride, int c) {
    return select(on, column(rows, stride, c, pack.row), Lanes{});
  };
  for (int c = 0; c < 2; ++c) mean_grad[c] = arrived(task.means2d_grad, 2, c);
  for (int c = 0; c < Shape::kColumns; ++c) shape[c] = arrived(task.shapes_grad, Shape::kColumns, c);
  SplatGrad<Lanes> g;
  splat_pull(task, p, mean_grad, shape, arrived(task.opacities_grad, 1, 0), arrived(task.depths_grad, 1, 0), g);
  pull_colour(task, pack, on, g);
  const auto put = [&](float* rows, int stride, int c, Lanes value) {
    put_column(rows, stride, c, first, pack.count, select(on, value, Lanes{}));
  };
  for (int c = 0; c < 3; ++c) put(task.means_grad, 3, c, g.mean[c] + g.direction[c]);
  for (int c = 0; c < 4; ++c) put(task.quaternions_grad, 4, c, g.quaternion[c]);
  for (int c = 0; c < Shape::kAxes; ++c) put(task.log_scales_grad, Shape::kAxes, c, g.log_scale[c]);
  put(task.logits_grad, 1, 0, g.logit);
  if (sums) {
    for (int i = 0; i < 9; ++i) g.rotation[i] = select(on, g.rotation[i], Lanes{});
    for (int i = 0; i < 3; ++i) g.local[i] = select(on, g.local[i], Lanes{});
    add_camera(pack, g, sums);
  }
}

template <class Shape> void project(const SplatProjectTask& task) {
#pragma omp parallel for schedule(static) if (task.splats > 4096)
  for (int64_t first = 0; first < task.splats; first += kLanes) project_pack<Shape>(task, first);
}

template <class Shape> void pull(const SplatProjectTask& task) {
  const int64_t blocks = (task.splats + kSplatBlock - 1) / kSplatBlock;
#pragma omp parallel for schedule(static)
  for (int64_t block = 0; block < blocks; ++block) {
    double sums[kSplatSums] = {};
    const int64_t end = smaller(task.splats, (block + 1) * kSplatBlock);
    for (int64_t first = block * kSplatBlock; first < end; first += kLanes) {
      pull_pack<Shape>(task, first, task.camera_sums ? sums : nullptr);
    }
    if (!task.camera_sums) continue;
    for (int i = 0; i < kSplatSums; ++i) task.camera_sums[block * kSplatSums + i] = float(sums[i]);
  }
}

}  // namespace

void splat_project(const SplatProjectTask& task) {
  task.axes == 2 ? project<Surfel<Lanes>>(task) : project<Ellipse<Lanes>>(task);
}

void splat_project_grad(const SplatProjectTask& task) {
  task.axes == 2 ? pull<Surfel<Lanes>>(task) : pull<Ellipse<Lanes>>(task);
}

}  // namespace volkit::VOLKIT_ISA
