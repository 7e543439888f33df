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

constexpr int kLanes = 1;
using Lanes = float;
using LanesI = int32_t;

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
typedef float LanesMemory __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
typedef int32_t LanesIMemory __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

VOLKIT_FN Lanes load(const float* from) { return *reinterpret_cast<const LanesMemory*>(from); }
VOLKIT_FN void store(float* to, Lanes x) { *reinterpret_cast<LanesMemory*>(to) = x; }
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

// `yes` where the condition holds, else `no`; the condition is a bool in a thread and a mask of lanes in a vector.
VOLKIT_FN float select(bool condition, float yes, float no) { return condition ? yes : no; }
#if !defined(__CUDACC__)
VOLKIT_FN Lanes select(LanesI condition, Lanes yes, Lanes no) { return condition ? yes : no; }
#endif

template <class T> VOLKIT_FN T smaller(T a, T b) { return a < b ? a : b; }
template <class T> VOLKIT_FN T larger(T a, T b) { return a < b ? b : a; }

}  // namespace volkit::VOLKIT_ISA
