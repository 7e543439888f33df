// The lane type: one float in a CUDA thread, a vector of floats on a CPU. Inline functions of an op are templates over it.
//
// Everything here and in the ops' headers lives in the namespace of its instruction set (volkit::VOLKIT_ISA), so that the
// linker can never take a function compiled for AVX-512 where an older processor must run. For the same reason these
// headers use nothing inline from the standard library.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define VOLKIT_FN __host__ __device__ __forceinline__
#define VOLKIT_UNROLL _Pragma("unroll")
#else
#define VOLKIT_FN inline __attribute__((always_inline))
#define VOLKIT_UNROLL _Pragma("GCC unroll 16")
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#endif

namespace volkit::VOLKIT_ISA {

#if defined(__CUDACC__)

VOLKIT_FN float square_root(float x) { return sqrtf(x); }

#else

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#else
constexpr int kLanes = 8;
#endif

// may_alias and the small alignment: rows of a tensor start where the tensor says.
typedef float Lanes __attribute__((vector_size(4 * kLanes)));
typedef int32_t LanesI __attribute__((vector_size(4 * kLanes)));
typedef uint32_t LanesU __attribute__((vector_size(4 * kLanes)));
typedef float LanesMemory __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
typedef uint32_t LanesUMemory __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

// The numbers of the lanes, for shuffles whose pattern is a formula.
template <int... i> struct Sequence {};
#if defined(__AVX512F__)
using LaneSequence = Sequence<0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15>;
#else
using LaneSequence = Sequence<0, 1, 2, 3, 4, 5, 6, 7>;
#endif

VOLKIT_FN Lanes load(const float* from) { return *reinterpret_cast<const LanesMemory*>(from); }
VOLKIT_FN void store(float* to, Lanes x) { *reinterpret_cast<LanesMemory*>(to) = x; }
VOLKIT_FN void store(uint32_t* to, LanesU x) { *reinterpret_cast<LanesUMemory*>(to) = x; }
VOLKIT_FN void store_first(float* to, Lanes x, int count) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << count) - 1u), (__m512)x);
#else
  __builtin_memcpy(to, &x, 4 * count);
#endif
}
VOLKIT_FN Lanes broadcast(float x) { return x - Lanes{}; }

VOLKIT_FN float square_root(float x) { return __builtin_sqrtf(x); }
VOLKIT_FN Lanes square_root(Lanes x) {
#if defined(__AVX512F__)
  return (Lanes)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX__)
  return (Lanes)_mm256_sqrt_ps((__m256)x);
#else
  for (int i = 0; i < kLanes; ++i) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}

#endif

// The unsigned integer that goes with a lane type.
template <class T> struct IndexFor { using type = uint32_t; };
#if !defined(__CUDACC__)
template <> struct IndexFor<Lanes> { using type = LanesU; };
#endif
template <class T> using IndexOf = typename IndexFor<T>::type;

template <class T> VOLKIT_FN T zero() { return T{}; }
template <class T> VOLKIT_FN T one() { return T{} + 1.0f; }

VOLKIT_FN uint32_t truncate(float x) { return static_cast<uint32_t>(static_cast<int32_t>(x)); }
VOLKIT_FN float to_float(uint32_t i) { return static_cast<float>(static_cast<int32_t>(i)); }
#if !defined(__CUDACC__)
VOLKIT_FN LanesU truncate(Lanes x) { return (LanesU)__builtin_convertvector(x, LanesI); }
VOLKIT_FN Lanes to_float(LanesU i) { return __builtin_convertvector((LanesI)i, Lanes); }
#endif

// `yes` where the condition holds, else `no`; the condition is a bool in a thread and a mask of lanes in a vector.
VOLKIT_FN float select(bool condition, float yes, float no) { return condition ? yes : no; }
#if !defined(__CUDACC__)
VOLKIT_FN Lanes select(LanesI condition, Lanes yes, Lanes no) { return condition ? yes : no; }
#endif

// Also element by element for vectors.
template <class T> VOLKIT_FN T smaller(T a, T b) { return a < b ? a : b; }
template <class T> VOLKIT_FN T larger(T a, T b) { return a < b ? b : a; }

}  // namespace volkit::VOLKIT_ISA
