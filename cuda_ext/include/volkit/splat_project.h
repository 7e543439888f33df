// Splats on the picture plane, forward and backward (see volkit/ops/splat/project.py for the formulas): what 3D Gaussians
// (splat_ellipse.h) and surfels (splat_surfel.h) have in common. The axes of both go to the picture by a matrix
//
//   Q = J W R S, J W and Q with 2 rows for an ellipse, with a third one, d(ln depth), for a surfel; R S with 3 or 2 axes
//   backward: dL/d(R S) = (J W)^T dL/dQ, dL/d(J W) = dL/dQ (R S)^T
#pragma once

#include "volkit/fields.h"
#include "volkit/exponential.h"
#include "volkit/masks.h"
#include "volkit/splat_harmonics.h"

namespace volkit {

constexpr int64_t kSplatBlock = 4096;  // splats whose camera gradients are added up together
constexpr int kSplatSums = 15;

#define VOLKIT_SPLAT_PROJECT_FIELDS(TENSOR, STRIDED, HOST, NUMBER)           \
  TENSOR(const float, means, splats * 3)  /* [splat, 3] */                   \
  TENSOR(const float, quaternions, splats * 4)  /* [splat, 4], w x y z */    \
  TENSOR(const float, log_scales, splats * axes)  /* [splat, axis] */        \
  TENSOR(const float, logits, splats)  /* [splat] */                         \
  TENSOR(const float, sh_dc, splats * 3)  /* [splat, 3] */                   \
  TENSOR(const float, sh_rest, splats * rest * 3)  /* [splat, rest, 3] */    \
  TENSOR(const float, pose, 12)  /* [3, 4], camera from world */             \
  NUMBER(int64_t, splats)                                                    \
  NUMBER(int64_t, axes)  /* 3 of an ellipse, 2 of a surfel */                \
  NUMBER(int64_t, rest)                                                      \
  NUMBER(float, fx)                                                          \
  NUMBER(float, fy)                                                          \
  NUMBER(float, cx)                                                          \
  NUMBER(float, cy)                                                          \
  NUMBER(float, width)                                                       \
  NUMBER(float, height)                                                      \
  NUMBER(float, near)                                                        \
  NUMBER(float, mip)                                                         \
  TENSOR(float, means2d, splats * 2)  /* [splat, 2], pixels */               \
  TENSOR(float, shapes, splats * (axes == 3 ? 3 : 6))  /* [splat, 3 or 6] */ \
  TENSOR(float, opacities, splats)  /* [splat] */                            \
  TENSOR(float, depths, splats)  /* [splat] */                               \
  TENSOR(float, colours, splats * 3)  /* [splat, 3] */                       \
  TENSOR(float, extents, splats * 2)  /* [splat, 2] */                       \
  TENSOR(const float, means2d_grad, splats * 2)  /* as the results above */  \
  TENSOR(const float, shapes_grad, splats * (axes == 3 ? 3 : 6))             \
  TENSOR(const float, opacities_grad, splats)                                \
  TENSOR(const float, depths_grad, splats)                                   \
  TENSOR(const float, colours_grad, splats * 3)                              \
  TENSOR(float, means_grad, splats * 3)  /* as the parameters above */       \
  TENSOR(float, quaternions_grad, splats * 4)                                \
  TENSOR(float, log_scales_grad, splats * axes)                              \
  TENSOR(float, logits_grad, splats)                                         \
  TENSOR(float, sh_dc_grad, splats * 3)                                      \
  TENSOR(float, sh_rest_grad, splats * rest * 3)                             \
  TENSOR(float, camera_sums, (splats + kSplatBlock - 1) / kSplatBlock * kSplatSums)  /* [block, 15] or null: rotation 9, translation 3, centre 3 */
VOLKIT_TASK(SplatProjectTask, VOLKIT_SPLAT_PROJECT_FIELDS)

}  // namespace volkit

namespace volkit::VOLKIT_ISA {

constexpr float kSplatFaintest = 1.0f / 255.0f;  // alpha (3DGS)
constexpr float kSplatMargin = 0.3f;            // of a picture (3DGS)

template <class T> struct Splat {
  T mean[3], quaternion[4], log_scale[3], logit;
};

template <class T> struct SplatGrad {
  T mean[3], quaternion[4], log_scale[3], logit, direction[3], local[3], rotation[9];
};

// Everything between parameters and shape that the way back reads again.
template <class T, int rows, int axes> struct SplatFrame {
  static constexpr int kRows = rows, kAxes = axes;
  typename LaneKind<T>::Mask seen;
  T local[3], tilt_x, tilt_y, held_x, held_y;  // held: 0 where the tilt is clamped, else 1
  T unit[4], inverse_length;                   // the quaternion
  T turn[9], scale[axes];                      // R, S
  T pose[3 * rows];                            // J W
  T spread[rows * axes];                       // Q
  T sigmoid, opacity;
  T x, y;
  T xx, yy;  // variances of what bounds the splat on the picture
};

template <class T> VOLKIT_FN T clamped(T x, float low, float high, T& held) {
  const auto below = x < low * one<T>(), above = x > high * one<T>();
  held = select(below, zero<T>(), select(above, zero<T>(), one<T>()));
  return select(below, low * one<T>(), select(above, high * one<T>(), x));
}

template <class T, class Frame> VOLKIT_FN void splat_turn(const Splat<T>& s, Frame& p) {
  const T* q = s.quaternion;
  const T length = square_root(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
  p.inverse_length = 1.0f / larger_of(length, 1e-12f * one<T>());
  for (int i = 0; i < 4; ++i) p.unit[i] = q[i] * p.inverse_length;
  const T w = p.unit[0], x = p.unit[1], y = p.unit[2], z = p.unit[3];
  p.turn[0] = 1.0f - 2.0f * (y * y + z * z);
  p.turn[1] = 2.0f * (x * y - w * z);
  p.turn[2] = 2.0f * (x * z + w * y);
  p.turn[3] = 2.0f * (x * y + w * z);
  p.turn[4] = 1.0f - 2.0f * (x * x + z * z);
  p.turn[5] = 2.0f * (y * z - w * x);
  p.turn[6] = 2.0f * (x * z - w * y);
  p.turn[7] = 2.0f * (y * z + w * x);
  p.turn[8] = 1.0f - 2.0f * (x * x + y * y);
}

// Everything but opacity and variances.
template <class T, class Frame> VOLKIT_FN void splat_frame(const SplatProjectTask& task, const Splat<T>& s, Frame& p) {
  const float* w = task.pose;
  for (int i = 0; i < 3; ++i) {
    p.local[i] = w[4 * i] * s.mean[0] + w[4 * i + 1] * s.mean[1] + w[4 * i + 2] * s.mean[2] + w[4 * i + 3];
  }
  p.seen = p.local[2] > task.near * one<T>();
  for (int i = 0; i < 3; ++i) p.local[i] = select(p.seen, p.local[i], i == 2 ? one<T>() : zero<T>());
  const T inverse = 1.0f / p.local[2];
  p.tilt_x = p.local[0] * inverse;
  p.tilt_y = p.local[1] * inverse;
  p.held_x = p.held_y = one<T>();
  if constexpr (Frame::kRows == 2) {  // an ellipse is an approximation, which must not be taken far off the picture
    const float edge_x = kSplatMargin * 0.5f * task.width / task.fx, edge_y = kSplatMargin * 0.5f * task.height / task.fy;
    p.tilt_x = clamped(p.tilt_x, -(task.cx / task.fx + edge_x), (task.width - task.cx) / task.fx + edge_x, p.held_x);
    p.tilt_y = clamped(p.tilt_y, -(task.cy / task.fy + edge_y), (task.height - task.cy) / task.fy + edge_y, p.held_y);
  }
  for (int j = 0; j < 3; ++j) {
    p.pose[j] = task.fx * inverse * (w[j] - p.tilt_x * w[8 + j]);
    p.pose[3 + j] = task.fy * inverse * (w[4 + j] - p.tilt_y * w[8 + j]);
    if constexpr (Frame::kRows == 3) p.pose[6 + j] = inverse * w[8 + j];
  }
  splat_turn(s, p);
  for (int j = 0; j < Frame::kAxes; ++j) {
    p.scale[j] = exponential(s.log_scale[j]).exp;
    for (int i = 0; i < Frame::kRows; ++i) {
      const T* row = p.pose + 3 * i;
      p.spread[Frame::kAxes * i + j] = (row[0] * p.turn[j] + row[1] * p.turn[3 + j] + row[2] * p.turn[6 + j]) * p.scale[j];
    }
  }
  p.sigmoid = 1.0f / (1.0f + exponential(-s.logit).exp);
  p.x = task.fx * p.local[0] * inverse + task.cx;
  p.y = task.fy * p.local[1] * inverse + task.cy;
}

// 2 ln(255 opacity): the squared distance, in standard deviations, at which alpha is 1/255.
template <class T> VOLKIT_FN T splat_reach_of(T opacity) {
  return 1.38629436f * log2_of(larger_of(opacity * (1.0f / kSplatFaintest), one<T>()));  // 2 ln 2 log2
}

// Half sizes of where the splat can be seen, 0 where it is culled.
template <class T, class Frame>
VOLKIT_FN auto splat_extents(const SplatProjectTask& task, const Frame& p, T& ex, T& ey) {
  const T reach = splat_reach_of(p.opacity);
  ex = square_root(reach * p.xx);
  ey = square_root(reach * p.yy);
  const T nothing = zero<T>();
  auto on = p.seen & (p.opacity > kSplatFaintest * one<T>()) & (p.x + ex > nothing) & (p.y + ey > nothing) &
            (p.x - ex < task.width * one<T>()) & (p.y - ey < task.height * one<T>()) &
            (larger_of(ex, ey) < 3e38f * one<T>()) & splat_finite(p);
  ex = select(on, ex, nothing);
  ey = select(on, ey, nothing);
  return on;
}

// From dL/dQ, dL/d(x, y) and dL/ddepth to the parameters but for logit and colour; `local` and `rotation` are those of the
// pose.
template <class T, class Frame>
VOLKIT_FN void splat_pull_frame(const SplatProjectTask& task, const Frame& p, const T* dq, const T* mean_grad, T depth,
                                SplatGrad<T>& g) {
  constexpr int rows = Frame::kRows, axes = Frame::kAxes;
  T dp[9] = {}, dturn[9] = {};
  for (int j = 0; j < axes; ++j) {
    T own = zero<T>();
    for (int i = 0; i < 3; ++i) {
      T d = zero<T>();
      for (int r = 0; r < rows; ++r) {
        d += p.pose[3 * r + i] * dq[axes * r + j];
        dp[3 * r + i] += dq[axes * r + j] * (p.turn[3 * i + j] * p.scale[j]);
      }
      own += d * p.turn[3 * i + j];
      dturn[3 * i + j] = d * p.scale[j];
    }
    g.log_scale[j] = own * p.scale[j];
  }
  const float* w = task.pose;
  const T inverse = 1.0f / p.local[2], jx = task.fx * inverse, jy = task.fy * inverse;
  // J = [[jx, 0, -jx tilt_x], [0, jy, -jy tilt_y], [0, 0, inverse]]
  T j0 = zero<T>(), j1 = zero<T>(), j2x = zero<T>(), j2y = zero<T>(), j2 = zero<T>();
  for (int i = 0; i < 3; ++i) {
    j0 += dp[i] * w[i];
    j1 += dp[3 + i] * w[4 + i];
    j2x += dp[i] * w[8 + i];
    j2y += dp[3 + i] * w[8 + i];
    j2 += dp[6 + i] * w[8 + i];
    g.rotation[i] = jx * dp[i];
    g.rotation[3 + i] = jy * dp[3 + i];
    g.rotation[6 + i] = inverse * dp[6 + i] - (jx * p.tilt_x * dp[i] + jy * p.tilt_y * dp[3 + i]);
  }
  g.local[0] = jx * mean_grad[0] - p.held_x * jx * inverse * j2x;
  g.local[1] = jy * mean_grad[1] - p.held_y * jy * inverse * j2y;
  g.local[2] = depth - inverse * (jx * p.local[0] * mean_grad[0] + jy * p.local[1] * mean_grad[1]) -
               inverse * (jx * j0 + jy * j1 + inverse * j2) + inverse * jx * p.tilt_x * (1.0f + p.held_x) * j2x +
               inverse * jy * p.tilt_y * (1.0f + p.held_y) * j2y;
  for (int j = 0; j < 3; ++j) g.mean[j] = w[j] * g.local[0] + w[4 + j] * g.local[1] + w[8 + j] * g.local[2];
  const T qw = p.unit[0], x = p.unit[1], y = p.unit[2], z = p.unit[3];
  const T* d = dturn;
  const T u[4] = {
      2.0f * (x * (d[7] - d[5]) + y * (d[2] - d[6]) + z * (d[3] - d[1])),
      2.0f * (y * (d[1] + d[3]) + z * (d[2] + d[6]) + qw * (d[7] - d[5])) - 4.0f * x * (d[4] + d[8]),
      2.0f * (x * (d[1] + d[3]) + z * (d[5] + d[7]) + qw * (d[2] - d[6])) - 4.0f * y * (d[0] + d[8]),
      2.0f * (x * (d[2] + d[6]) + y * (d[5] + d[7]) + qw * (d[3] - d[1])) - 4.0f * z * (d[0] + d[4])};
  const T along = u[0] * qw + u[1] * x + u[2] * y + u[3] * z;
  for (int i = 0; i < 4; ++i) g.quaternion[i] = (u[i] - along * p.unit[i]) * p.inverse_length;
}

}  // namespace volkit::VOLKIT_ISA
