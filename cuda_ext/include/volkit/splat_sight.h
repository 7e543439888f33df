// The two shapes of a projected splat, as blending asks for them: an ellipse (a 3D Gaussian) and a surfel (a 2D Gaussian
// in space, met by each pixel's ray). For d from the splat's centre to a pixel:
//
//   ellipse  q = A dx^2 + B dx dy + C dy^2
//   surfel   h = P^-1 d, rho = 1 / (1 - kappa . h), (u, v) = rho h, z = depth rho: where the ray meets the plane;
//            q = -log2(e) min((u^2 + v^2) / 2, |d|^2)
//
// with P = d(pixel) / d(u, v) and kappa = d(ln depth) / d(u, v) at the centre. In the exact perspective the plane's
// depth is depth (1 + kappa . (u, v)) and (u, v) = (1 + kappa . (u, v)) h, from which rho follows.
#pragma once

#include "volkit/splat_records.h"

namespace volkit::VOLKIT_ISA {

// A splat as some pixels see it: those of a column once, those of a row of it by `power`.
template <class Record, class T> struct Sight;

template <class T> struct Sight<EllipseRecord, T> {
  T dx, base, slope;

  VOLKIT_FN Sight(const EllipseRecord& s, T dx) : dx(dx), base(s.a * dx * dx), slope(s.b * dx) {}
  VOLKIT_FN T power(const EllipseRecord& s, float dy) { return base + dy * (slope + s.c * dy); }
  // A value that goes with depth, here.
  template <class V> VOLKIT_FN T bent(V value) const { return value * one<T>(); }
};

template <class T> struct Sight<SurfelRecord, T> {
  T dx, u0, v0, blur;
  T u, v, rho;  // rho is 1 where the filter draws: there the splat is as far away as its centre
  typename LaneKind<T>::Mask met;

  VOLKIT_FN Sight(const SurfelRecord& s, T dx) : dx(dx), u0(s.uu * dx), v0(s.vu * dx), blur(-kLog2E * dx * dx) {}
  VOLKIT_FN T power(const SurfelRecord& s, float dy) {
    const T hu = u0 + s.uv * dy, hv = v0 + s.vv * dy, nearness = 1.0f - (s.ku * hu + s.kv * hv);
    const auto front = nearness > zero<T>();
    rho = 1.0f / select(front, nearness, one<T>());
    u = hu * rho;
    v = hv * rho;
    const T plane = -0.5f * kLog2E * (u * u + v * v), filter = blur - kLog2E * dy * dy;
    met = front & (plane > filter);
    rho = select(met, rho, one<T>());
    return select(met, plane, filter);
  }
  template <class V> VOLKIT_FN T bent(V value) const { return value * rho; }
};

// What the gradient of a pair needs of its pixels: sums of g = dL/dln(alpha) times this and that. `bent` is
// z dL/dz, of the depth that a surfel shows.
template <class Record, class T> struct PairSums;

template <class T> struct PairSums<EllipseRecord, T> {
  static constexpr int kCount = 6;
  T gain = zero<T>(), tilt = zero<T>(), bend = zero<T>();

  VOLKIT_FN void add(const Sight<EllipseRecord, T>&, float dy, T g, T) {
    gain += g;
    tilt += g * dy;
    bend += g * (dy * dy);
  }
  // g dx, g dy, g dx^2, g dx dy, g dy^2, g
  VOLKIT_FN void parts(T dx, T* to) const {
    to[0] = gain * dx;
    to[1] = tilt;
    to[2] = to[0] * dx;
    to[3] = tilt * dx;
    to[4] = bend;
    to[5] = gain;
  }
};

template <class T> struct PairSums<SurfelRecord, T> {
  static constexpr int kCount = 11;
  T uu = zero<T>(), uv = zero<T>(), vv = zero<T>(), eu = zero<T>(), ev = zero<T>();
  T pu = zero<T>(), pv = zero<T>(), pe = zero<T>(), blur = zero<T>(), tilt = zero<T>(), gain = zero<T>();

  // E = dL/dln(rho) = z dL/dz - g (u^2 + v^2); dL/dh = rho (E kappa - g (u, v)), dL/dkappa = E (u, v).
  VOLKIT_FN void add(const Sight<SurfelRecord, T>& at, float dy, T g, T bent) {
    const T u = select(at.met, at.u, zero<T>()), v = select(at.met, at.v, zero<T>()), gu = g * u, gv = g * v;
    const T e = select(at.met, bent, zero<T>()) - (gu * u + gv * v), filtered = select(at.met, zero<T>(), g);
    uu += gu * u;
    uv += gu * v;
    vv += gv * v;
    eu += e * u;
    ev += e * v;
    pu += gu * at.rho;
    pv += gv * at.rho;
    pe += e * at.rho;
    blur += filtered;
    tilt += filtered * dy;
    gain += g;
  }
  VOLKIT_FN void parts(T dx, T* to) const {
    const T all[kCount] = {uu, uv, vv, eu, ev, pu, pv, pe, blur * dx, tilt, gain};
    for (int i = 0; i < kCount; ++i) to[i] = all[i];
  }
};

// From the summed parts to a pair's gradient: centre, shape, opacity.
VOLKIT_FN void pair_grad(const EllipseRecord& s, const float* sums, float* grad) {
  const float a = s.a * (-2.0f / kLog2E), b = s.b * (-1.0f / kLog2E), c = s.c * (-2.0f / kLog2E);
  grad[0] = a * sums[0] + b * sums[1];
  grad[1] = b * sums[0] + c * sums[1];
  grad[2] = -0.5f * sums[2];
  grad[3] = -sums[3];
  grad[4] = -0.5f * sums[4];
  grad[5] = sums[5] / s.opacity;
}

// dL/dcentre = -P^-T sum dL/dh and twice g d of the filter, dL/dP = -P^-T sum dL/dh h^T.
VOLKIT_FN void pair_grad(const SurfelRecord& s, const float* sums, float* grad) {
  const float hu = s.ku * sums[7] - sums[5], hv = s.kv * sums[7] - sums[6];
  const float guu = s.ku * sums[3] - sums[0], guv = s.ku * sums[4] - sums[1];
  const float gvu = s.kv * sums[3] - sums[1], gvv = s.kv * sums[4] - sums[2];
  grad[0] = 2.0f * sums[8] - (s.uu * hu + s.vu * hv);
  grad[1] = 2.0f * sums[9] - (s.uv * hu + s.vv * hv);
  grad[2] = -(s.uu * guu + s.vu * gvu);
  grad[3] = -(s.uu * guv + s.vu * gvv);
  grad[4] = -(s.uv * guu + s.vv * gvu);
  grad[5] = -(s.uv * guv + s.vv * gvv);
  grad[6] = sums[3];
  grad[7] = sums[4];
  grad[8] = sums[10] / s.opacity;
}

}  // namespace volkit::VOLKIT_ISA
