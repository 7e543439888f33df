// The two shapes of a projected splat, as blending asks for them: an ellipse (a 3D Gaussian) and a surfel (a 2D Gaussian
// in space, met by each pixel's ray). For d from the splat's centre to a pixel:
//
//   ellipse  q = a dx^2 + b dx dy + c dy^2
//   surfel   h = P^-1 d, rho = 1 / (1 - kappa . h), (u, v) = rho h, z = depth rho: where the ray meets the plane;
//            q = -log2(e) min((u^2 + v^2) / 2, |d|^2)
//
// with P = d(pixel) / d(u, v) and kappa = d(ln depth) / d(u, v) at the centre. In the exact perspective the plane's
// depth is depth (1 + kappa . (u, v)) and (u, v) = (1 + kappa . (u, v)) h, from which rho follows.
#pragma once

#include "volkit/predicates.h"
#include "volkit/splat_records.h"

namespace volkit::VOLKIT_ISA {

// A splat as some pixels see it, d = (dx, dy) from its centre; `power` is the logarithm of alpha to base 2.
template <class Record, class T> struct PixelFootprint;

template <class T> struct PixelFootprint<EllipseRecord, T> {
  T dx, dy, power;

  VOLKIT_FN PixelFootprint(const EllipseRecord& s, T dx, T dy)
      : dx(dx), dy(dy), power((s.a * dx + s.b * dy) * dx + (s.c * dy * dy + s.lift)) {}
  // A value that goes with depth, here.
  template <class V> VOLKIT_FN T at_pixel(V value) const { return value * one<T>(); }
};

template <class T> struct PixelFootprint<SurfelRecord, T> {
  T dx, dy, u, v, rho, power;  // rho is 1 where the filter draws: there the splat is as far away as its centre
  Predicate<T> met;

  VOLKIT_FN PixelFootprint(const SurfelRecord& s, T dx, T dy) : dx(dx), dy(dy) {
    const T hu = s.uu * dx + s.uv * dy, hv = s.vu * dx + s.vv * dy, nearness = 1.0f - (s.ku * hu + s.kv * hv);
    const auto front = above(nearness, zero<T>());
    rho = 1.0f / select(front, nearness, one<T>());
    u = hu * rho;
    v = hv * rho;
    const T plane = -0.5f * kLog2E * (u * u + v * v), filter = -kLog2E * (dx * dx + dy * dy);
    met = front & above(plane, filter);
    rho = select(met, rho, one<T>());
    power = select(met, plane, filter) + s.lift;
  }
  template <class V> VOLKIT_FN T at_pixel(V value) const { return value * rho; }
};

// What the gradient of a pair needs of its pixels: sums of g = dL/dln(alpha) times this and that. `depth_grad` is
// z dL/dz, of the depth that a surfel shows.
template <class Record, class T> struct PairSums;

template <class T> struct PairSums<EllipseRecord, T> {
  static constexpr int kCount = 6;
  T sums[kCount] = {};  // g dx, g dy, g dx^2, g dx dy, g dy^2, g

  VOLKIT_FN void add(const PixelFootprint<EllipseRecord, T>& at, T g, T) {
    const T gx = g * at.dx, gy = g * at.dy;
    sums[0] += gx;
    sums[1] += gy;
    sums[2] += gx * at.dx;
    sums[3] += gx * at.dy;
    sums[4] += gy * at.dy;
    sums[5] += g;
  }
};

template <class T> struct PairSums<SurfelRecord, T> {
  static constexpr int kCount = 11;
  T sums[kCount] = {};  // (dL/dh h^T) in two parts 5, dL/dh in two parts 3, filtered g d 2, g

  // E = dL/dln(rho) = z dL/dz - g (u^2 + v^2); dL/dh = rho (E kappa - g (u, v)), dL/dkappa = E (u, v).
  VOLKIT_FN void add(const PixelFootprint<SurfelRecord, T>& at, T g, T depth_grad) {
    const T u = select(at.met, at.u, zero<T>()), v = select(at.met, at.v, zero<T>()), gu = g * u, gv = g * v;
    const T e = select(at.met, depth_grad, zero<T>()) - (gu * u + gv * v), filtered = select(at.met, zero<T>(), g);
    sums[0] += gu * u;
    sums[1] += gu * v;
    sums[2] += gv * v;
    sums[3] += e * u;
    sums[4] += e * v;
    sums[5] += gu * at.rho;
    sums[6] += gv * at.rho;
    sums[7] += e * at.rho;
    sums[8] += filtered * at.dx;
    sums[9] += filtered * at.dy;
    sums[10] += g;
  }
};

// From a splat's sums to its gradient: centre, shape, opacity.
VOLKIT_FN void splat_grad(const EllipseRecord& s, float opacity, const float* sums, float* grad) {
  const float a = s.a * (-2.0f / kLog2E), b = s.b * (-1.0f / kLog2E), c = s.c * (-2.0f / kLog2E);
  grad[0] = a * sums[0] + b * sums[1];
  grad[1] = b * sums[0] + c * sums[1];
  grad[2] = -0.5f * sums[2];
  grad[3] = -sums[3];
  grad[4] = -0.5f * sums[4];
  grad[5] = sums[5] / opacity;
}

// dL/dcentre = -P^-T sum dL/dh and twice g d of the filter, dL/dP = -P^-T sum dL/dh h^T.
VOLKIT_FN void splat_grad(const SurfelRecord& s, float opacity, const float* sums, float* grad) {
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
  grad[8] = sums[10] / opacity;
}

}  // namespace volkit::VOLKIT_ISA
