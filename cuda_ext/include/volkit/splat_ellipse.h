// A 3D Gaussian on the picture plane: covariance = Q Q^T + 0.3 I, conic K = covariance^-1.
// Backward: dL/dcovariance = V = -K G K, dL/dQ = 2 V Q.
#pragma once

#include "volkit/splat_project.h"

namespace volkit::VOLKIT_ISA {

constexpr float kSplatDilation = 0.3f;  // pixel^2 (3DGS)

template <class T> struct Ellipse : SplatFrame<T, 2, 3> {
  static constexpr int kColumns = 3;  // of its shape
  T xy, determinant, kept;            // covariance with dilation; opacity = sigmoid * kept
};

template <class T> VOLKIT_FN void splat_see(const SplatProjectTask& task, const Splat<T>& s, Ellipse<T>& p) {
  splat_frame(task, s, p);
  const T* a = p.spread;
  const T* b = p.spread + 3;
  const T thin_xx = a[0] * a[0] + a[1] * a[1] + a[2] * a[2], thin_yy = b[0] * b[0] + b[1] * b[1] + b[2] * b[2];
  p.xy = a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  p.xx = thin_xx + kSplatDilation;
  p.yy = thin_yy + kSplatDilation;
  // det(Q Q^T + e I) without the cancellation of xx yy - xy^2: det(Q Q^T) is |a x b|^2.
  const T n0 = a[1] * b[2] - a[2] * b[1], n1 = a[2] * b[0] - a[0] * b[2], n2 = a[0] * b[1] - a[1] * b[0];
  const T thin = n0 * n0 + n1 * n1 + n2 * n2;
  p.determinant = thin + kSplatDilation * (thin_xx + thin_yy + kSplatDilation);
  p.kept = task.mip != 0.0f ? square_root(larger_of(thin / p.determinant, 1e-12f * one<T>())) : one<T>();
  p.opacity = p.sigmoid * p.kept;
}

template <class T> VOLKIT_FN auto splat_finite(const Ellipse<T>& p) {
  return larger_of(p.xx, p.yy) / p.determinant < 3e38f * one<T>();
}

template <class T> VOLKIT_FN void splat_shape(const Ellipse<T>& p, T* conic) {
  const T over = 1.0f / p.determinant;
  conic[0] = p.yy * over;
  conic[1] = -p.xy * over;
  conic[2] = p.xx * over;
}

template <class T>
VOLKIT_FN void splat_pull(const SplatProjectTask& task, const Ellipse<T>& p, const T* mean_grad, const T* conic, T opacity,
                          T depth, SplatGrad<T>& g) {
  const T over = 1.0f / p.determinant, half = 0.5f * conic[1];
  const T ka = p.yy * over, kb = -p.xy * over, kc = p.xx * over;
  // V = -K G K
  const T t0 = conic[0] * ka + half * kb, t1 = conic[0] * kb + half * kc;
  const T t2 = half * ka + conic[2] * kb, t3 = half * kb + conic[2] * kc;
  T vxx = -(ka * t0 + kb * t2), vxy = -(ka * t1 + kb * t3), vyy = -(kb * t1 + kc * t3);
  const T slope = p.sigmoid * (1.0f - p.sigmoid);
  g.logit = opacity * p.kept * slope;
  if (task.mip != 0.0f) {
    const T thin_xx = p.xx - kSplatDilation, thin_yy = p.yy - kSplatDilation;
    const T thin = larger_of(p.kept * p.kept * p.determinant, 1e-20f * one<T>());
    const T pull = 0.5f * opacity * p.sigmoid * p.kept;
    const T share = select(p.kept > 1.1e-6f * one<T>(), pull, zero<T>());
    vxx += share * (thin_yy / thin - p.yy * over);
    vyy += share * (thin_xx / thin - p.xx * over);
    vxy += share * (p.xy * over - p.xy / thin);
  }
  T dq[6];
  for (int j = 0; j < 3; ++j) {
    dq[j] = 2.0f * (vxx * p.spread[j] + vxy * p.spread[3 + j]);
    dq[3 + j] = 2.0f * (vxy * p.spread[j] + vyy * p.spread[3 + j]);
  }
  splat_pull_frame(task, p, dq, mean_grad, depth, g);
}

}  // namespace volkit::VOLKIT_ISA
