// Channels of one sample side by side: vectors of 16, 8 or 4 floats and single floats, whatever covers a row best.
//
// The same inline functions work on float (a CUDA thread, a last channel) and on a vector type.
#pragma once

#include "volkit/lanes.h"

namespace volkit::VOLKIT_ISA {

VOLKIT_FN float sum(float x) { return x; }
VOLKIT_FN void accumulate(float* at, float x) { *at += x; }
VOLKIT_FN float drop(float x, int64_t) { return x; }

template <class T> struct Channels;
template <> struct Channels<float> {
  using Value = float;
  VOLKIT_FN static float get(const float* from) { return *from; }
  VOLKIT_FN static void put(float* to, float x) { *to = x; }
};
template <class T> VOLKIT_FN T get(const float* from) { return Channels<T>::get(from); }
template <class T> VOLKIT_FN void put(float* to, T x) { Channels<T>::put(to, x); }

#if !defined(__CUDACC__)

template <int N> struct Wide {
  typedef float Value __attribute__((vector_size(4 * N)));
  typedef int32_t Mask __attribute__((vector_size(4 * N)));
  typedef float Memory __attribute__((vector_size(4 * N), aligned(4), may_alias));
};
template <> struct Wide<1> {
  using Value = float;
};

template <int N> struct WideChannels {
  using Value = typename Wide<N>::Value;
  VOLKIT_FN static Value get(const float* from) {
    return *reinterpret_cast<const typename Wide<N>::Memory*>(from);
  }
  VOLKIT_FN static void put(float* to, Value x) { *reinterpret_cast<typename Wide<N>::Memory*>(to) = x; }
};
template <> struct Channels<Wide<4>::Value> : WideChannels<4> {};
template <> struct Channels<Wide<8>::Value> : WideChannels<8> {};
template <> struct Channels<Wide<16>::Value> : WideChannels<16> {};

VOLKIT_FN float sum(Wide<4>::Value x) { return (x[0] + x[2]) + (x[1] + x[3]); }
VOLKIT_FN float sum(Wide<8>::Value x) {
  return sum(__builtin_shufflevector(x, x, 0, 1, 2, 3) + __builtin_shufflevector(x, x, 4, 5, 6, 7));
}
VOLKIT_FN float sum(Wide<16>::Value x) {
  return sum(__builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7) +
             __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15));
}

// Where lane i of a step of `sums` comes from: half of a group of lanes from each of two vectors.
constexpr int fold_lane(int i, int group) { return i / group * group + i % (group / 2) + (i % group < group / 2 ? 0 : kLanes); }
template <int kGroup, int... i> VOLKIT_FN Lanes folded(Lanes a, Lanes b, Sequence<i...>) {
  return __builtin_shufflevector(a, b, fold_lane(i, kGroup)...) +
         __builtin_shufflevector(a, b, (fold_lane(i, kGroup) + kGroup / 2)...);
}
template <int kGroup> VOLKIT_FN Lanes fold_all(Lanes* x) {
  for (int i = 0; i < kGroup / 2; ++i) x[i] = folded<kGroup>(x[i], x[i + kGroup / 2], LaneSequence{});
  if constexpr (kGroup > 2) return fold_all<kGroup / 2>(x);
  return x[0];
}

// The sums of `count` vectors, of which each takes a third of the work of `sum`.
VOLKIT_FN void sums(const Lanes* from, int count, float* to) {
  for (int first = 0; first < count; first += kLanes) {
    const int here = count - first < kLanes ? count - first : kLanes;
    Lanes x[kLanes];
    for (int i = 0; i < kLanes; ++i) x[i] = i < here ? from[first + i] : Lanes{};
    store_first(to + first, fold_all<kLanes>(x), here);
  }
}

// Zero for the first `skip` channels: those that the vector before this one has done already.
template <int N> VOLKIT_FN typename Wide<N>::Value dropped(typename Wide<N>::Value x, int64_t skip) {
  if (skip == 0) return x;
  for (int i = 0; i < N; ++i) x[i] = i < skip ? 0.0f : x[i];
  return x;
}
VOLKIT_FN Wide<4>::Value drop(Wide<4>::Value x, int64_t skip) { return dropped<4>(x, skip); }
VOLKIT_FN Wide<8>::Value drop(Wide<8>::Value x, int64_t skip) { return dropped<8>(x, skip); }
VOLKIT_FN Wide<16>::Value drop(Wide<16>::Value x, int64_t skip) { return dropped<16>(x, skip); }

template <int N, class F> VOLKIT_FN void cover(int64_t begin, int64_t at, int64_t end, const F& f) {
  for (; at + N <= end; at += N) f(typename Wide<N>::Value{}, at, int64_t(0));
  if constexpr (N > 1) {
    constexpr int half = N == 4 ? 1 : N / 2;
    const int64_t rest = end - at;
    if (rest > half && end - begin >= N) {
      f(typename Wide<N>::Value{}, end - N, N - rest);
    } else if (rest > 0) {
      cover<half>(begin, at, end, f);
    }
  }
}

// Calls f(T{}, at, skip) so that vectors of type T at `at` cover the channels [begin, end). A last vector may overlap the
// one before it by `skip` channels: 27 channels are two vectors of 16, not 16 + 8 + 3 single ones.
template <class F> VOLKIT_FN void for_channels(int64_t begin, int64_t end, const F& f) {
  cover<kLanes>(begin, begin, end, f);
}

#endif

}  // namespace volkit::VOLKIT_ISA
