// The ray walk through an occupancy bitfield: one functor, shared by counting, writing and whatever integrates on the way.
//
// The intervals of a ray are fixed beforehand (see volkit/ops/march.py); the walk only decides which of them it must look
// at. Where the cell of a midpoint is empty it takes the largest empty aligned block around it (Morton order: 8^3 cells
// are 64 bytes in a row, 4^3 are 8, 2^3 are 1) and goes on with the first midpoint that may lie outside.
#pragma once

#include "volkit/lanes.h"

namespace volkit {

struct MarchTask {
  const float* origins;     // [ray, 3]
  const float* directions;  // [ray, 3]
  const float* near;        // [ray]
  const float* far;         // [ray]
  const float* jitter;      // [ray] or null
  const uint8_t* bits;      // [resolution^3 / 8]
  int64_t rays;
  float lower_x, lower_y, lower_z;
  float upper_x, upper_y, upper_z;
  int64_t contracted;
  int64_t resolution;
  float step;
  float cone;
  int64_t limit;
  int32_t* counts;         // [ray]: written when counting
  int32_t* firsts;         // [ray]: number of the first interval kept; written when counting, read when writing
  const int64_t* offsets;  // [ray + 1]: read when writing
  float* t0;               // [sample]
  float* t1;               // [sample]
  int32_t* ray;            // [sample]
};

}  // namespace volkit

namespace volkit::VOLKIT_ISA {

constexpr int32_t kMarchEnd = 1 << 22;  // beyond it float32 no longer tells neighbouring intervals apart

struct MarchBlock {
  int32_t x, y, z;  // a cell inside
  int32_t size;     // 0: the cell is occupied; else the side of an empty aligned block
};

VOLKIT_FN uint32_t spread_bits(uint32_t x) {
#if defined(__BMI2__) && !defined(__CUDACC__)
  return _pdep_u32(x, 0x09249249u);
#else
  x = (x | x << 16) & 0x030000FFu;
  x = (x | x << 8) & 0x0300F00Fu;
  x = (x | x << 4) & 0x030C30C3u;
  return (x | x << 2) & 0x09249249u;
#endif
}

VOLKIT_FN uint64_t bits_at(const uint8_t* from) {
  uint64_t word;
  __builtin_memcpy(&word, from, 8);
  return word;
}

VOLKIT_FN MarchBlock march_look(const uint8_t* bits, int32_t x, int32_t y, int32_t z) {
  const uint32_t cell = spread_bits(x) | spread_bits(y) << 1 | spread_bits(z) << 2;
  const uint64_t word = bits_at(bits + (cell >> 6) * 8);
  const uint32_t byte = word >> (cell & 56) & 255;
  if (byte >> (cell & 7) & 1) return {x, y, z, 0};
  if (byte) return {x, y, z, 1};
  if (word) return {x, y, z, 2};
  const uint8_t* block = bits + (cell >> 9) * 64;
  uint64_t any = 0;
  VOLKIT_UNROLL
  for (int i = 0; i < 8; ++i) any |= bits_at(block + 8 * i);
  return {x, y, z, any ? 4 : 8};
}

// A ray in cells of the lattice (box) or in half extents about the centre (contracted).
struct MarchRay {
  float origin[3], direction[3], inverse[3];
  float near, far, jitter;
  float enter, leave;  // beyond these a midpoint is surely outside the box
};

VOLKIT_FN float magnitude(float x) { return x < 0.0f ? -x : x; }
VOLKIT_FN bool finite(float x) { return magnitude(x) <= 3.4e38f; }

VOLKIT_FN bool march_begin(const MarchTask& task, int64_t index, MarchRay& ray) {
  const float lower[3] = {task.lower_x, task.lower_y, task.lower_z};
  const float upper[3] = {task.upper_x, task.upper_y, task.upper_z};
  ray.near = task.near[index];
  ray.far = task.far[index];
  ray.jitter = task.jitter ? task.jitter[index] : 0.0f;
  ray.enter = ray.near;
  ray.leave = ray.far;
  bool good = ray.near < ray.far && finite(ray.near) && finite(ray.jitter);
  for (int i = 0; i < 3; ++i) {
    const float origin = task.origins[3 * index + i], direction = task.directions[3 * index + i];
    good = good && finite(origin) && finite(direction);
    const float shift = task.contracted ? 0.5f * (lower[i] + upper[i]) : lower[i];
    const float scale = task.contracted ? 2.0f / (upper[i] - lower[i]) : task.resolution / (upper[i] - lower[i]);
    ray.origin[i] = (origin - shift) * scale;
    ray.direction[i] = direction * scale;
    ray.inverse[i] = 1.0f / ray.direction[i];
    if (task.contracted) continue;
    if (direction == 0.0f) {
      good = good && ray.origin[i] >= 0.0f && ray.origin[i] < task.resolution;
    } else {
      // One cell of slack: rounding takes nothing away, and the cell test decides anyhow.
      const float low = (-1.0f - ray.origin[i]) * ray.inverse[i];
      const float high = (task.resolution + 1.0f - ray.origin[i]) * ray.inverse[i];
      ray.enter = larger(ray.enter, smaller(low, high));
      ray.leave = smaller(ray.leave, larger(low, high));
    }
  }
  return good && ray.enter < ray.leave;
}

// Where the straight ray leaves [low, high] along one axis.
VOLKIT_FN float march_exit(const MarchRay& ray, int axis, float low, float high) {
  const float border = ray.direction[axis] > 0.0f ? high : low;
  return ray.direction[axis] == 0.0f ? 3.4e38f : (border - ray.origin[axis]) * ray.inverse[axis];
}

// Looks at the midpoint t of a box: true if occupied; else `until` is a distance that midpoints may not skip.
VOLKIT_FN bool march_box(const MarchTask& task, const MarchRay& ray, float t, float& until) {
  const float size = static_cast<float>(task.resolution);
  const float x = ray.origin[0] + t * ray.direction[0], y = ray.origin[1] + t * ray.direction[1],
              z = ray.origin[2] + t * ray.direction[2];
  until = t;
  if (!(x >= 0.0f && x < size && y >= 0.0f && y < size && z >= 0.0f && z < size)) return false;
  const MarchBlock block = march_look(task.bits, int32_t(x), int32_t(y), int32_t(z));
  if (block.size == 0) return true;
  const int32_t mask = -block.size;
  const int32_t corner[3] = {block.x & mask, block.y & mask, block.z & mask};
  float exit = 3.4e38f;
  for (int i = 0; i < 3; ++i) {
    exit = smaller(exit, march_exit(ray, i, float(corner[i]), float(corner[i] + block.size)));
  }
  until = exit;
  return false;
}

// The same in contracted space. Inside the box rays are straight and the block's border is found exactly. Outside, with
// n = max|y|, the contraction stretches distances (max norm) by at most 4/n - 3/n^2 <= min(4/3, 4/n): its steepest row
// is (2n - 1)/n^2 from its own coordinate and 2(n - 1)/n^2 from the largest. So from a point whose block's border is d
// away, nothing within max(3/4 d, n d / (4 + d)) leaves the block (the second: r 4/(n - r) <= d).
VOLKIT_FN bool march_contracted(const MarchTask& task, const MarchRay& ray, float t, float& until) {
  const float size = static_cast<float>(task.resolution);
  float y[3], norm = 0.0f, speed = 0.0f;
  for (int i = 0; i < 3; ++i) {
    y[i] = ray.origin[i] + t * ray.direction[i];
    norm = larger(norm, magnitude(y[i]));
    speed = larger(speed, magnitude(ray.direction[i]));
  }
  until = t;
  if (!(norm < 1e30f)) return false;
  const float inverse = 1.0f / norm, shrink = norm <= 1.0f ? 1.0f : (2.0f - inverse) * inverse;
  int32_t cell[3];
  for (int i = 0; i < 3; ++i) {
    const float unit = y[i] * shrink * 0.25f + 0.5f;
    cell[i] = smaller(larger(int32_t(unit * size), 0), int32_t(task.resolution) - 1);
  }
  const MarchBlock block = march_look(task.bits, cell[0], cell[1], cell[2]);
  if (block.size == 0) return true;
  float exit = 3.4e38f, margin = 4.0f;
  for (int i = 0; i < 3; ++i) {
    const int32_t corner = cell[i] & -block.size, last = corner + block.size;
    const float low = corner * (4.0f / size) - 2.0f, high = last * (4.0f / size) - 2.0f;
    exit = smaller(exit, march_exit(ray, i, larger(low, -1.0f), smaller(high, 1.0f)));
    // The faces of the cube are infinity: nothing leaves there.
    if (corner > 0) margin = smaller(margin, y[i] * shrink - low);
    if (last < task.resolution) margin = smaller(margin, high - y[i] * shrink);
  }
  margin = larger(margin, 0.0f);
  const float reach = larger(0.75f * margin, norm * margin / (4.0f + margin));
  until = norm < 1.0f ? exit : t + 0.999f * reach / speed;
  return false;
}

// Visits the kept intervals of one ray in order: visit(t0, t1, number) says whether to go on.
template <class Visit> VOLKIT_FN void march_walk(const MarchTask& task, int64_t index, int32_t from, const Visit& visit) {
  MarchRay ray;
  if (!march_begin(task, index, ray)) return;
  const float step = task.step, cone = task.cone, per_step = 1.0f / step;
  const bool even = cone == 0.0f;
  const float slack = 1e-6f;  // `target` is rounded; a midpoint looked at twice costs little, one missed is an error
  int32_t k = even ? from : 0;
  float t = ray.near + ray.jitter * larger(cone * ray.near, step);
  float target = ray.enter;
  while (true) {
    if (even) {
      const float ahead = (target - slack * magnitude(target) - ray.near) * per_step - ray.jitter - 0.51f;
      if (ahead > k) k = int32_t(smaller(ahead, float(kMarchEnd))) + 1;
      t = ray.near + (k + ray.jitter) * step;
    } else {
      const float goal = target - slack * magnitude(target);
      while ((k < from || t + 0.5f * larger(cone * t, step) < goal) && t < ray.far) {
        t += larger(cone * t, step);
        ++k;
      }
    }
    const float dt = larger(cone * t, step);
    const float end = even ? ray.near + (k + 1 + ray.jitter) * step : t + dt;
    if (!(t < ray.far && end > t) || k >= kMarchEnd || t > ray.leave) return;
    const float t1 = smaller(end, ray.far), middle = 0.5f * (t + t1);
    const bool occupied = task.contracted ? march_contracted(task, ray, middle, target)
                                          : march_box(task, ray, middle, target);
    if (occupied) {
      if (!visit(t, t1, k)) return;
      target = t;
    }
    ++k;
    t = end;
  }
}

}  // namespace volkit::VOLKIT_ISA
