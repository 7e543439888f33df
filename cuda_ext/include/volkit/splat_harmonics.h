// Real spherical harmonics with Condon-Shortley signs, degrees 0 to 4, as polynomials in a unit direction, and what they
// pull back: dL/ddirection of sum_k g_k Y_k, with x, y and z as independent variables. See volkit/geometry.
#pragma once

#include "volkit/lanes.h"

namespace volkit::VOLKIT_ISA {

constexpr int kHarmonics = 25;

VOLKIT_FN int harmonics_degree(int64_t rest) { return rest >= 24 ? 4 : rest >= 15 ? 3 : rest >= 8 ? 2 : rest >= 3; }

// Y_k, k = 0 ... (degree + 1)^2 - 1.
template <class T> VOLKIT_FN void harmonics(int degree, T x, T y, T z, T* basis) {
  const T xx = x * x, yy = y * y, zz = z * z, xy = x * y, yz = y * z, xz = x * z;
  basis[0] = one<T>() * 0.28209479177387814f;
  if (degree < 1) return;
  basis[1] = -0.4886025119029199f * y;
  basis[2] = 0.4886025119029199f * z;
  basis[3] = -0.4886025119029199f * x;
  if (degree < 2) return;
  basis[4] = 1.0925484305920792f * xy;
  basis[5] = -1.0925484305920792f * yz;
  basis[6] = 0.31539156525252005f * (2.0f * zz - xx - yy);
  basis[7] = -1.0925484305920792f * xz;
  basis[8] = 0.5462742152960396f * (xx - yy);
  if (degree < 3) return;
  basis[9] = -0.5900435899266435f * y * (3.0f * xx - yy);
  basis[10] = 2.890611442640554f * xy * z;
  basis[11] = -0.4570457994644658f * y * (4.0f * zz - xx - yy);
  basis[12] = 0.3731763325901154f * z * (2.0f * zz - 3.0f * xx - 3.0f * yy);
  basis[13] = -0.4570457994644658f * x * (4.0f * zz - xx - yy);
  basis[14] = 1.445305721320277f * z * (xx - yy);
  basis[15] = -0.5900435899266435f * x * (xx - 3.0f * yy);
  if (degree < 4) return;
  basis[16] = 2.5033429417967046f * xy * (xx - yy);
  basis[17] = -1.7701307697799304f * yz * (3.0f * xx - yy);
  basis[18] = 0.9461746957575601f * xy * (7.0f * zz - 1.0f);
  basis[19] = -0.6690465435572892f * yz * (7.0f * zz - 3.0f);
  basis[20] = 0.10578554691520431f * (zz * (35.0f * zz - 30.0f) + 3.0f);
  basis[21] = -0.6690465435572892f * xz * (7.0f * zz - 3.0f);
  basis[22] = 0.47308734787878004f * (xx - yy) * (7.0f * zz - 1.0f);
  basis[23] = -1.7701307697799304f * xz * (xx - 3.0f * yy);
  basis[24] = 0.6258357354491761f * (xx * (xx - 3.0f * yy) - yy * (3.0f * xx - yy));
}

template <class T> struct Direction {
  T x, y, z;
};

template <class T> VOLKIT_FN Direction<T> harmonics_grad(int degree, T x, T y, T z, const T* g) {
  Direction<T> d{zero<T>(), zero<T>(), zero<T>()};
  if (degree < 1) return d;
  const T xx = x * x, yy = y * y, zz = z * z, xy = x * y, yz = y * z, xz = x * z;
  d.x = -0.4886025119029199f * g[3];
  d.y = -0.4886025119029199f * g[1];
  d.z = 0.4886025119029199f * g[2];
  if (degree < 2) return d;
  d.x += 1.0925484305920792f * (y * g[4] - z * g[7] + x * g[8]) - 0.6307831305050401f * x * g[6];
  d.y += 1.0925484305920792f * (x * g[4] - z * g[5] - y * g[8]) - 0.6307831305050401f * y * g[6];
  d.z += -1.0925484305920792f * (y * g[5] + x * g[7]) + 1.2615662610100802f * z * g[6];
  if (degree < 3) return d;
  d.x += -3.540261539559861f * xy * g[9] + 2.890611442640554f * (yz * g[10] + xz * g[14]) +
         0.9140915989289316f * xy * g[11] - 2.2390579955406924f * xz * g[12] -
         0.4570457994644658f * (4.0f * zz - 3.0f * xx - yy) * g[13] - 1.7701307697799305f * (xx - yy) * g[15];
  d.y += -1.7701307697799305f * (xx - yy) * g[9] + 2.890611442640554f * (xz * g[10] - yz * g[14]) -
         0.4570457994644658f * (4.0f * zz - xx - 3.0f * yy) * g[11] - 2.2390579955406924f * yz * g[12] +
         0.9140915989289316f * xy * g[13] + 3.540261539559861f * xy * g[15];
  d.z += 2.890611442640554f * xy * g[10] - 3.6563663957157264f * (yz * g[11] + xz * g[13]) +
         1.1195289977703462f * (2.0f * zz - xx - yy) * g[12] + 1.445305721320277f * (xx - yy) * g[14];
  if (degree < 4) return d;
  const T seven = 7.0f * zz - 1.0f, three = 7.0f * zz - 3.0f;
  d.x += 2.5033429417967046f * y * (3.0f * xx - yy) * g[16] - 10.620784618679583f * xy * z * g[17] +
         0.9461746957575601f * y * seven * g[18] - 0.6690465435572892f * z * three * g[21] +
         0.9461746957575601f * x * seven * g[22] - 5.310392309339791f * z * (xx - yy) * g[23] +
         2.5033429417967046f * x * (xx - 3.0f * yy) * g[24];
  d.y += 2.5033429417967046f * x * (xx - 3.0f * yy) * g[16] - 5.310392309339791f * z * (xx - yy) * g[17] +
         0.9461746957575601f * x * seven * g[18] - 0.6690465435572892f * z * three * g[19] -
         0.9461746957575601f * y * seven * g[22] + 10.620784618679583f * xy * z * g[23] -
         2.5033429417967046f * y * (3.0f * xx - yy) * g[24];
  d.z += -1.7701307697799304f * y * (3.0f * xx - yy) * g[17] + 13.246445740605842f * xy * z * g[18] -
         2.0071396306718676f * y * (7.0f * zz - 1.0f) * g[19] + 0.42314218766081724f * z * (35.0f * zz - 15.0f) * g[20] -
         2.0071396306718676f * x * (7.0f * zz - 1.0f) * g[21] + 6.623222870302921f * z * (xx - yy) * g[22] -
         1.7701307697799304f * x * (xx - 3.0f * yy) * g[23];
  return d;
}

}  // namespace volkit::VOLKIT_ISA
