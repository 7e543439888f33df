// Comparisons of lanes and what follows from them: a bool in a CUDA thread, a mask register of AVX-512, else lanes that are
// all ones or zero.
#pragma once

#include "volkit/masks.h"

namespace volkit::VOLKIT_ISA {

VOLKIT_FN bool at_least(float a, float b) { return a >= b; }
VOLKIT_FN bool above(float a, float b) { return a > b; }

#if defined(__CUDACC__)

template <class T> using Predicate = bool;

#else

#if defined(__AVX512F__)

struct LaneBits {
  __mmask16 bits;
};

VOLKIT_FN LaneBits operator&(LaneBits a, LaneBits b) { return {static_cast<__mmask16>(a.bits & b.bits)}; }
VOLKIT_FN LaneBits at_least(Lanes a, Lanes b) { return {_mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GE_OQ)}; }
VOLKIT_FN LaneBits above(Lanes a, Lanes b) { return {_mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ)}; }
VOLKIT_FN Lanes select(LaneBits condition, Lanes yes, Lanes no) {
  return (Lanes)_mm512_mask_blend_ps(condition.bits, (__m512)no, (__m512)yes);
}
VOLKIT_FN uint32_t lane_bits(LaneBits condition) { return condition.bits; }

#else

using LaneBits = LanesI;

VOLKIT_FN LaneBits at_least(Lanes a, Lanes b) { return a >= b; }
VOLKIT_FN LaneBits above(Lanes a, Lanes b) { return a > b; }

#endif

VOLKIT_FN LaneBits at_least(Lanes a, float b) { return at_least(a, broadcast(b)); }
VOLKIT_FN LaneBits above(Lanes a, float b) { return above(a, broadcast(b)); }

template <class T> struct PredicateFor { using type = bool; };
template <> struct PredicateFor<Lanes> { using type = LaneBits; };
template <class T> using Predicate = typename PredicateFor<T>::type;

// Writes the numbers first, first + 1, ... of the words that have this bit, one after another; returns how many.
VOLKIT_FN int put_numbers_with(int bit, const uint32_t* words, int first, int32_t* to) {
#if defined(__AVX512F__)
  const LanesI numbers = to_int(lane_numbers(Lanes{})) + first;
  const __mmask16 on = _mm512_test_epi32_mask(_mm512_loadu_si512(words), _mm512_set1_epi32(1 << bit));
  _mm512_mask_compressstoreu_epi32(to, on, (__m512i)numbers);
  return __builtin_popcount(on);
#else
  int count = 0;
  for (int i = 0; i < kLanes; ++i) {
    to[count] = first + i;
    count += words[i] >> bit & 1;
  }
  return count;
#endif
}

#endif

}  // namespace volkit::VOLKIT_ISA
