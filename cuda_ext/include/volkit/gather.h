// Vectors of table rows on a CPU. A row of one feature is a Lanes; a row of an even number is read as pairs: `Pairs`
// holds (f0, f1) of each point interleaved, so that one gather of 64 bits per point brings both.
#pragma once

#include "volkit/lanes.h"

namespace volkit::VOLKIT_ISA {

struct Pairs {
  Lanes low, high;  // first half of the points, second half
};

#if defined(__AVX512F__)
#define VOLKIT_SPREAD_LOW 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7
#define VOLKIT_SPREAD_HIGH 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15
#define VOLKIT_EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define VOLKIT_ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#define VOLKIT_ZIP_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define VOLKIT_ZIP_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#else
#define VOLKIT_SPREAD_LOW 0, 0, 1, 1, 2, 2, 3, 3
#define VOLKIT_SPREAD_HIGH 4, 4, 5, 5, 6, 6, 7, 7
#define VOLKIT_EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define VOLKIT_ODD 1, 3, 5, 7, 9, 11, 13, 15
#define VOLKIT_ZIP_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define VOLKIT_ZIP_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#endif

VOLKIT_FN Pairs zip(Lanes a, Lanes b) {
  return {__builtin_shufflevector(a, b, VOLKIT_ZIP_LOW), __builtin_shufflevector(a, b, VOLKIT_ZIP_HIGH)};
}
VOLKIT_FN Lanes even(Pairs p) { return __builtin_shufflevector(p.low, p.high, VOLKIT_EVEN); }
VOLKIT_FN Lanes odd(Pairs p) { return __builtin_shufflevector(p.low, p.high, VOLKIT_ODD); }

VOLKIT_FN float half_to_float(uint16_t h) {
  // Shift exponent and fraction to their places; a product with 2^112 rebiases both and is right for denormals too.
  const uint32_t shifted = uint32_t(h & 0x7fff) << 13;
  float value;
  __builtin_memcpy(&value, &shifted, 4);
  value *= 5.192296858534828e33f;
  if ((h & 0x7c00) == 0x7c00) value = (h & 0x3ff) ? __builtin_nanf("") : __builtin_inff();
  return (h & 0x8000) ? -value : value;
}

// Words of two halves each, to floats in the same order: words of (f0, f1) become Pairs.
VOLKIT_FN Pairs widen(LanesU words) {
#if defined(__AVX512F__)
  return {(Lanes)_mm512_cvtph_ps(_mm512_castsi512_si256((__m512i)words)),
          (Lanes)_mm512_cvtph_ps(_mm512_extracti64x4_epi64((__m512i)words, 1))};
#elif defined(__F16C__)
  return {(Lanes)_mm256_cvtph_ps(_mm256_castsi256_si128((__m256i)words)),
          (Lanes)_mm256_cvtph_ps(_mm256_extracti128_si256((__m256i)words, 1))};
#else
  Lanes low{}, high{};
  for (int i = 0; i < kLanes; ++i) {
    (i < kLanes / 2 ? low : high)[2 * i % kLanes] = half_to_float(words[i] & 0xffff);
    (i < kLanes / 2 ? low : high)[2 * i % kLanes + 1] = half_to_float(words[i] >> 16);
  }
  return {low, high};
#endif
}

// 32-bit words at `index * kStride` of an array.
template <int kStride> VOLKIT_FN LanesU gather_words(const void* words, LanesU index) {
#if defined(__AVX512F__)
  return (LanesU)_mm512_i32gather_epi32((__m512i)(index * uint32_t(kStride)), words, 4);
#elif defined(__AVX2__)
  return (LanesU)_mm256_i32gather_epi32(static_cast<const int*>(words), (__m256i)(index * uint32_t(kStride)), 4);
#else
  LanesU value{};
  for (int i = 0; i < kLanes; ++i) value[i] = static_cast<const uint32_t*>(words)[uint64_t(index[i]) * kStride];
  return value;
#endif
}

// The same for pairs of words at an even stride.
template <int kStride> VOLKIT_FN Pairs gather_pairs(const void* words, LanesU index) {
#if defined(__AVX512F__)
  const __m512i at = (__m512i)(index * uint32_t(kStride / 2));
  return {(Lanes)_mm512_i32gather_epi64(_mm512_castsi512_si256(at), words, 8),
          (Lanes)_mm512_i32gather_epi64(_mm512_extracti64x4_epi64(at, 1), words, 8)};
#elif defined(__AVX2__)
  const __m256i at = (__m256i)(index * uint32_t(kStride / 2));
  const auto* base = static_cast<const long long*>(words);
  return {(Lanes)_mm256_i32gather_epi64(base, _mm256_castsi256_si128(at), 8),
          (Lanes)_mm256_i32gather_epi64(base, _mm256_extracti128_si256(at, 1), 8)};
#else
  const auto* base = static_cast<const float*>(words);
  Pairs value{};
  for (int i = 0; i < kLanes; ++i) {
    const float* row = base + uint64_t(index[i]) * kStride;
    Lanes& half = i < kLanes / 2 ? value.low : value.high;
    half[2 * i % kLanes] = row[0], half[2 * i % kLanes + 1] = row[1];
  }
  return value;
#endif
}

// Rows of F features, float32 or float16, as a vector of one feature or of pairs of them.
template <int F, bool kHalf> struct Rows {
  static_assert(F == 1 || F % 2 == 0);
  static constexpr int kPairs = F == 1 ? 1 : F / 2;
  static constexpr int kWidth = F == 1 ? 1 : 2;  // features per vector

  static VOLKIT_FN auto read(const void* table, LanesU index, int pair) {
    if constexpr (F > 1 && kHalf) {
      return widen(gather_words<F / 2>(static_cast<const uint32_t*>(table) + pair, index));
    } else if constexpr (F > 1) {
      return gather_pairs<F>(static_cast<const float*>(table) + 2 * pair, index);
    } else if constexpr (kHalf) {
      // Two entries share a word; the wanted half comes first, and the other is dropped.
      return even(widen(gather_words<1>(table, index >> 1) >> ((index & 1u) << 4)));
    } else {
      return (Lanes)gather_words<1>(table, index);
    }
  }
};

// One number per point, in the shape of the rows; and back: F planar vectors from F / kWidth of rows.
template <int kWidth> VOLKIT_FN auto spread(Lanes x) {
  if constexpr (kWidth == 1) {
    return x;
  } else {
    return Pairs{__builtin_shufflevector(x, x, VOLKIT_SPREAD_LOW), __builtin_shufflevector(x, x, VOLKIT_SPREAD_HIGH)};
  }
}

VOLKIT_FN Pairs operator+(Pairs a, Pairs b) { return {a.low + b.low, a.high + b.high}; }
VOLKIT_FN Pairs operator-(Pairs a, Pairs b) { return {a.low - b.low, a.high - b.high}; }
VOLKIT_FN Pairs operator*(Pairs a, Pairs b) { return {a.low * b.low, a.high * b.high}; }
template <class V> VOLKIT_FN V lerp(V a, V b, V t) { return a + t * (b - a); }

VOLKIT_FN void store_planar(float* out, int64_t, Lanes v) { store(out, v); }
VOLKIT_FN void store_planar(float* out, int64_t stride, Pairs v) { store(out, even(v)), store(out + stride, odd(v)); }
template <int kWidth> VOLKIT_FN auto load_planar(const float* from, int64_t stride) {
  if constexpr (kWidth == 1) {
    return load(from);
  } else {
    return zip(load(from), load(from + stride));
  }
}
VOLKIT_FN void store_rows(float* out, Lanes v) { store(out, v); }
VOLKIT_FN void store_rows(float* out, Pairs v) { store(out, v.low), store(out + kLanes, v.high); }
VOLKIT_FN Lanes sum_features(Lanes v) { return v; }
VOLKIT_FN Lanes sum_features(Pairs v) { return even(v) + odd(v); }

// Points [point, 3] to three vectors.
VOLKIT_FN void load_points(const float* p, Lanes& x, Lanes& y, Lanes& z) {
#if defined(__AVX512F__)
  const Lanes a = load(p), b = load(p + 16), c = load(p + 32);
  const Lanes xab = __builtin_shufflevector(a, b, 0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 0, 0, 0, 0, 0);
  const Lanes yab = __builtin_shufflevector(a, b, 1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 0, 0, 0, 0, 0);
  const Lanes zab = __builtin_shufflevector(a, b, 2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 0, 0, 0, 0, 0, 0);
  x = __builtin_shufflevector(xab, c, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17, 20, 23, 26, 29);
  y = __builtin_shufflevector(yab, c, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 18, 21, 24, 27, 30);
  z = __builtin_shufflevector(zab, c, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 19, 22, 25, 28, 31);
#else
  const Lanes a = load(p), b = load(p + 8), c = load(p + 16);
  const Lanes xab = __builtin_shufflevector(a, b, 0, 3, 6, 9, 12, 15, 0, 0);
  const Lanes yab = __builtin_shufflevector(a, b, 1, 4, 7, 10, 13, 0, 0, 0);
  const Lanes zab = __builtin_shufflevector(a, b, 2, 5, 8, 11, 14, 0, 0, 0);
  x = __builtin_shufflevector(xab, c, 0, 1, 2, 3, 4, 5, 10, 13);
  y = __builtin_shufflevector(yab, c, 0, 1, 2, 3, 4, 8, 11, 14);
  z = __builtin_shufflevector(zab, c, 0, 1, 2, 3, 4, 9, 12, 15);
#endif
}

// Bit i is lane i of a comparison.
VOLKIT_FN uint32_t bits(LanesI condition) {
#if defined(__AVX512F__)
  return _mm512_movepi32_mask((__m512i)condition);
#elif defined(__AVX2__)
  return _mm256_movemask_ps((__m256)condition);
#else
  uint32_t mask = 0;
  for (int i = 0; i < kLanes; ++i) mask |= uint32_t(condition[i] & 1) << i;
  return mask;
#endif
}

}  // namespace volkit::VOLKIT_ISA
