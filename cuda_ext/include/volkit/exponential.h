// e^x - 1 and e^x of lanes to about 1 ulp of float32: x = k ln 2 + r, |r| <= ln 2 / 2, polynomial in r (Taylor to r^7,
// remainder 5e-9), then 2^k (p + 1). Keeping p = e^r - 1 apart makes e^x - 1 exact near 0 as well.
#pragma once

#include "volkit/lanes.h"

namespace volkit::VOLKIT_ISA {

template <class T> struct Exponential {
  T exp, expm1;
};

#if defined(__CUDACC__)

VOLKIT_FN Exponential<float> exponential(float x) { return {expf(x), expm1f(x)}; }

#else

VOLKIT_FN Exponential<Lanes> exponential(Lanes x) {
  const Lanes magic = broadcast(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const Lanes k = (x * 1.44269504f + magic) - magic;
  const Lanes r = (x - k * 0.693359375f) + k * 2.12194440e-4f;  // ln 2 in two parts (Cody and Waite)
  Lanes p = broadcast(1.98412698e-4f);
  p = p * r + 1.38888889e-3f;
  p = p * r + 8.33333333e-3f;
  p = p * r + 4.16666667e-2f;
  p = p * r + 1.66666667e-1f;
  p = p * r + 0.5f;
  p = p * r * r + r;
  const LanesI bits = (__builtin_convertvector(k, LanesI) + 127) << 23;
  const Lanes scale = (Lanes)bits;
  Exponential<Lanes> result{scale * p + scale, scale * p + (scale - 1.0f)};
  const LanesI low = x < -87.0f, high = x > 88.0f;
  const Lanes infinity = broadcast(__builtin_inff());
  result.exp = select(high, infinity, select(low, Lanes{}, result.exp));
  result.expm1 = select(high, infinity, select(low, broadcast(-1.0f), result.expm1));
  return result;
}

#endif

}  // namespace volkit::VOLKIT_ISA
