// A surfel on the picture plane: its shape is Q itself, d(x, y, ln depth) / d(u, v) at its centre, which is all that a
// plane in perspective has. What bounds it is an ellipse, grown for perspective and by the filter.
#pragma once

#include "volkit/splat_project.h"
#include "volkit/splat_records.h"

namespace volkit::VOLKIT_ISA {

template <class T> struct Surfel : SplatFrame<T, 3, 2> {
  static constexpr int kColumns = 6;  // of its shape
};

template <class T> VOLKIT_FN void splat_see(const SplatProjectTask& task, const Splat<T>& s, Surfel<T>& p) {
  splat_frame(task, s, p);
  p.opacity = p.sigmoid;
  const T* q = p.spread;
  const T growth = surfel_growth(splat_reach_of(p.opacity), q[4], q[5]), anywhere = kSplatAnywhere * one<T>();
  p.xx = select(growth > zero<T>(), growth * (q[0] * q[0] + q[1] * q[1]) + kSplatFilter, anywhere);
  p.yy = select(growth > zero<T>(), growth * (q[2] * q[2] + q[3] * q[3]) + kSplatFilter, anywhere);
}

template <class T> VOLKIT_FN auto splat_finite(const Surfel<T>& p) {
  T size = p.x * p.x + p.y * p.y;
  for (int i = 0; i < 6; ++i) size += p.spread[i] * p.spread[i];
  return size < 3e38f * one<T>();
}

template <class T> VOLKIT_FN void splat_shape(const Surfel<T>& p, T* shape) {
  for (int i = 0; i < 6; ++i) shape[i] = p.spread[i];
}

template <class T>
VOLKIT_FN void splat_pull(const SplatProjectTask& task, const Surfel<T>& p, const T* mean_grad, const T* shape, T opacity,
                          T depth, SplatGrad<T>& g) {
  g.logit = opacity * p.sigmoid * (1.0f - p.sigmoid);
  splat_pull_frame(task, p, shape, mean_grad, depth, g);
}

}  // namespace volkit::VOLKIT_ISA
