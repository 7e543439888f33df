// Branches for lanes: a condition is a bool in a CUDA thread and a mask of lanes in a vector on a CPU, and the same inline
// functions of an op work on both.
#pragma once

#include "volkit/lanes.h"
#if !defined(__CUDACC__)
#include "volkit/gather.h"
#endif

namespace volkit::VOLKIT_ISA {

template <class T> struct LaneKind;
template <> struct LaneKind<float> {
  using Int = int32_t;
  using Word = uint32_t;
  using Mask = bool;
  static constexpr int count = 1;
};

VOLKIT_FN float fill(float x, float) { return x; }
VOLKIT_FN float lane_numbers(float) { return 0.0f; }
VOLKIT_FN float lane(float x, int) { return x; }
VOLKIT_FN void set_lane(float& x, int, float value) { x = value; }
VOLKIT_FN float smaller_of(float a, float b) { return a < b ? a : b; }
VOLKIT_FN float larger_of(float a, float b) { return a < b ? b : a; }
VOLKIT_FN uint32_t lane_bits(bool mask) { return mask; }
template <class V> VOLKIT_FN V choose(bool mask, V yes, V no) { return mask ? yes : no; }
VOLKIT_FN int32_t to_int(float x) { return static_cast<int32_t>(x); }
VOLKIT_FN float to_float(int32_t x) { return static_cast<float>(x); }
VOLKIT_FN uint32_t word_at(const void* words, uint32_t index) { return static_cast<const uint32_t*>(words)[index]; }

#if defined(__CUDACC__)

VOLKIT_FN float exp2_of(float x) { return exp2f(x); }
VOLKIT_FN float exp2_near(float x) { return exp2f(x); }
VOLKIT_FN float log2_of(float x) { return log2f(x); }

#else

template <> struct LaneKind<Lanes> {
  using Int = LanesI;
  using Word = LanesU;
  using Mask = LanesI;
  static constexpr int count = kLanes;
};

VOLKIT_FN Lanes fill(float x, Lanes) { return broadcast(x); }
VOLKIT_FN float lane(Lanes x, int i) { return x[i]; }
VOLKIT_FN void set_lane(Lanes& x, int i, float value) { x[i] = value; }
VOLKIT_FN Lanes lane_numbers(Lanes x) {
  for (int i = 0; i < kLanes; ++i) x[i] = float(i);
  return x;
}
VOLKIT_FN uint32_t lane_bits(LanesI mask) {
#if defined(__AVX512DQ__)
  return _mm512_movepi32_mask((__m512i)mask);
#elif defined(__AVX__)
  return static_cast<uint32_t>(_mm256_movemask_ps((__m256)mask));
#else
  uint32_t bits = 0;
  for (int i = 0; i < kLanes; ++i) bits |= uint32_t(mask[i] != 0) << i;
  return bits;
#endif
}
VOLKIT_FN Lanes smaller_of(Lanes a, Lanes b) { return a < b ? a : b; }
VOLKIT_FN Lanes larger_of(Lanes a, Lanes b) { return a < b ? b : a; }
template <class V> VOLKIT_FN V choose(LanesI mask, V yes, V no) { return mask ? yes : no; }
VOLKIT_FN LanesI to_int(Lanes x) { return __builtin_convertvector(x, LanesI); }
VOLKIT_FN Lanes to_float(LanesI x) { return __builtin_convertvector(x, Lanes); }
VOLKIT_FN LanesU word_at(const void* words, LanesU index) { return gather_words<1>(words, index); }

// 2^x for |x| < 126 to 2e-7, anything elsewhere: the nearest integer, which adding 1.5 * 2^23 leaves in the lowest bits,
// goes to the exponent, the rest into the polynomial of least relative error on [-1/2, 1/2] that is 1 at 0.
VOLKIT_FN Lanes exp2_near(Lanes x) {
  const Lanes shifted = x + 12582912.0f, r = x - (shifted - 12582912.0f);
  Lanes p = broadcast(1.32647e-3f);
  p = p * r + 9.67151e-3f;
  p = p * r + 5.550734e-2f;
  p = p * r + 2.4022242e-1f;
  p = p * r + 6.9314698e-1f;
  p = p * r + 1.0f;
  return (Lanes)((LanesI)p + ((LanesI)shifted << 23));
}

VOLKIT_FN Lanes exp2_of(Lanes x) { return exp2_near(smaller_of(larger_of(x, broadcast(-126.0f)), broadcast(126.0f))); }

// log2 of a normal x > 0, to 1e-7: the exponent, and log(m) = 2 atanh((m - 1) / (m + 1)) for m in [0.7, 1.4].
VOLKIT_FN Lanes log2_of(Lanes x) {
  const LanesI bits = (LanesI)x, exponent = (bits - 0x3f3504f3) >> 23;
  const Lanes m = (Lanes)(bits - (exponent << 23));
  const Lanes s = (m - 1.0f) / (m + 1.0f), z = s * s;
  Lanes p = broadcast(1.0f / 9.0f);
  p = p * z + 1.0f / 7.0f;
  p = p * z + 1.0f / 5.0f;
  p = p * z + 1.0f / 3.0f;
  p = p * z + 1.0f;
  return to_float(exponent) + p * s * 2.88539008f;
}

#endif

}  // namespace volkit::VOLKIT_ISA
