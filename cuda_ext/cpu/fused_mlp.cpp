// The network on a CPU: blocks of points go through all layers while they stay in a core's cache, so memory sees only
// inputs and outputs. The backward pass repeats the forward of its block: cheaper than writing activations out and
// reading them back.
#include "volkit/fused_mlp.h"

#include <cstdlib>

#include "volkit/products.h"
#include "volkit/threads.h"

namespace volkit::VOLKIT_ISA {
namespace {

constexpr int64_t kBlock = 128;  // points

// One allocation, cut into aligned arrays.
class Arena {
 public:
  explicit Arena(int64_t floats) : memory_(static_cast<float*>(std::aligned_alloc(64, padded_to(floats, 16) * 4))) {}
  ~Arena() { std::free(memory_); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  float* take(int64_t floats) {
    float* taken = memory_ + used_;
    used_ += padded_to(floats, 16);
    return taken;
  }

 private:
  float* memory_;
  int64_t used_ = 0;
};

#if defined(__AVX512BF16__)
VOLKIT_FN __m512i round_pair(Lanes first, Lanes second) {
  return (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
}
#endif

// A block's numbers in the two arrangements that products need.
template <class P> struct Activations {
  Matrix planar;   // [dim, kBlock / group]: words along the points
  Matrix grouped;  // [words(dim), kBlock]: words along the dimension

  static int64_t words(int64_t dim) { return P::kGroup == 1 ? dim : padded_to(dim, 32) / 2; }
  static int64_t floats(int64_t dim) { return P::kGroup == 1 ? dim * kBlock : dim * kBlock / 2 + words(dim) * kBlock; }

  void place(Arena& arena, int64_t dim) {
    planar = {arena.take(dim * kBlock / P::kGroup), kBlock / P::kGroup};
    grouped = P::kGroup == 1 ? planar : Matrix{arena.take(words(dim) * kBlock), kBlock};
  }

  // From floats [dim, kBlock]. `gate`: values pass where the gate's are positive (backward of ReLU).
  void fill(const float* from, int64_t dim, bool relu, const Activations* gate);
};

template <class P> VOLKIT_FN Lanes gated(const float* from, bool relu, const float* gate) {
  Lanes x = load(from);
  if (relu) x = select(x < zero<Lanes>(), zero<Lanes>(), x);  // NaN passes
  if (gate) x = select(load(gate) > zero<Lanes>(), x, zero<Lanes>());
  return x;
}

template <> inline void Activations<Float32>::fill(const float* from, int64_t dim, bool relu, const Activations* gate) {
  for (int64_t i = 0; i < dim * kBlock; i += kLanes) {
    store(planar.at + i, gated<Float32>(from + i, relu, gate ? gate->planar.at + i : nullptr));
  }
}

#if defined(__AVX512BF16__)
VOLKIT_FN Lanes relu_or_not(const float* from, bool relu) {
  const Lanes x = load(from);
  return relu ? select(x < zero<Lanes>(), zero<Lanes>(), x) : x;
}

template <>
inline void Activations<Bfloat16>::fill(const float* from, int64_t dim, bool relu, const Activations* gate) {
  alignas(64) static constexpr uint16_t kLow[32] = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                                    8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  const __m512i low = _mm512_load_si512(kLow), high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
  for (int64_t d = 0; d < dim; d += 2) {
    for (int64_t p = 0; p < kBlock; p += 32) {
      const float* at = from + d * kBlock + p;
      __m512i row[2];
      for (int r = 0; r < 2; ++r) {
        const float* points = at + r * kBlock;
        row[r] = round_pair(relu_or_not(points, relu), relu_or_not(points + 16, relu));
        float* to = planar.at + (d + r) * planar.stride + p / 2;
        if (gate) {
          // A rectified bfloat16 is positive where its bits, as an integer, are.
          const __m512i open = _mm512_loadu_si512(gate->planar.at + (d + r) * planar.stride + p / 2);
          row[r] = _mm512_maskz_mov_epi16(_mm512_cmpgt_epi16_mask(open, _mm512_setzero_si512()), row[r]);
        }
        _mm512_storeu_si512(to, row[r]);
      }
      float* to = grouped.at + d / 2 * kBlock + p;
      _mm512_storeu_si512(to, _mm512_permutex2var_epi16(row[0], low, row[1]));
      _mm512_storeu_si512(to + 16, _mm512_permutex2var_epi16(row[0], high, row[1]));
    }
  }
  for (int64_t w = dim / 2; w < words(dim); ++w) {
    for (int64_t p = 0; p < kBlock; p += kLanes) store(grouped.at + w * kBlock + p, Lanes{});
  }
}
#endif

// Weights as the left operands of products: W for the forward pass, its transpose for the backward.
template <class P> struct PackedWeights {
  Arena arena;
  Matrix forward[kMaxMatrices], backward[kMaxMatrices];

  static int64_t floats(const MlpShape& shape) {
    int64_t sum = 0;
    for (int i = 0; i < shape.matrices; ++i) {
      sum += shape.dim[i + 1] * Activations<P>::words(shape.dim[i]) +
             shape.dim[i] * Activations<P>::words(shape.dim[i + 1]);
    }
    return sum;
  }

  PackedWeights(const MlpShape& shape, const float* weights) : arena(floats(shape)) {
    for (int i = 0; i < shape.matrices; ++i) {
      const int64_t in = shape.dim[i], out = shape.dim[i + 1];
      forward[i] = pack(weights + shape.first[i], out, in, in, 1);
      backward[i] = pack(weights + shape.first[i], in, out, 1, in);
    }
  }

  Matrix pack(const float* from, int64_t rows, int64_t cols, int64_t row_stride, int64_t col_stride) {
    const int64_t words = Activations<P>::words(cols);
    float* to = arena.take(rows * words);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t w = 0; w < words; ++w) {
        to[r * words + w] = word(from + r * row_stride, w * P::kGroup, cols, col_stride);
      }
    }
    return {to, words};
  }

  static float word(const float* row, int64_t col, int64_t cols, int64_t stride) {
    const float first = col < cols ? row[col * stride] : 0.0f;
#if defined(__AVX512BF16__)
    if constexpr (P::kGroup == 2) {
      const float second = col + 1 < cols ? row[(col + 1) * stride] : 0.0f;
      const __m128i both = (__m128i)_mm_cvtneps_pbh(_mm_setr_ps(first, second, 0.0f, 0.0f));
      return _mm_cvtss_f32(_mm_castsi128_ps(both));
    }
#endif
    return first;
  }
};

// What one thread needs to take a block through the network.
template <class P> struct Walker {
  const MlpShape& shape;
  const PackedWeights<P>& weights;
  Arena arena;
  float* sums;  // [widest, kBlock], a product's result
  Matrix transposed;
  Activations<P> hidden[kMaxMatrices], grad;

  static int64_t floats(const MlpShape& shape) {
    int64_t sum = 2 * shape.widest() * kBlock + Activations<P>::floats(shape.widest()) + 64;
    for (int i = 0; i < shape.matrices; ++i) sum += Activations<P>::floats(shape.dim[i]);
    return sum;
  }

  Walker(const MlpShape& of, const PackedWeights<P>& with) : shape(of), weights(with), arena(floats(of)) {
    sums = arena.take(shape.widest() * kBlock);
    transposed.at = arena.take(shape.widest() * kBlock);
    for (int i = 0; i < shape.matrices; ++i) hidden[i].place(arena, shape.dim[i]);
    grad.place(arena, shape.widest());
  }

  // Planar rows into `sums`, padded with zero points and with rows of `fill`.
  void read(const float* from, int64_t stride, int64_t rows, int64_t count, int64_t dim, float fill) {
    for (int64_t r = 0; r < dim; ++r) {
      float* to = sums + r * kBlock;
      if (r < rows && count == kBlock) {
        __builtin_memcpy(to, from + r * stride, kBlock * sizeof(float));
      } else {
        for (int64_t p = 0; p < kBlock; ++p) to[p] = r >= rows ? fill : p < count ? from[r * stride + p] : 0.0f;
      }
    }
  }

  void write(float* to, int64_t stride, int64_t rows, int64_t count) const {
    for (int64_t r = 0; r < rows; ++r) __builtin_memcpy(to + r * stride, sums + r * kBlock, count * sizeof(float));
  }

  void apply(int layer) {
    product<P>({sums, kBlock}, weights.forward[layer], hidden[layer].grouped, shape.dim[layer + 1], kBlock,
               Activations<P>::words(shape.dim[layer]), false);
  }

  // Inputs to the activations that enter the last layer.
  template <class Task> void forward(const Task& task, int64_t begin, int64_t count) {
    read(task.inputs + begin, task.points, task.input_count, count, shape.dim[0], 1.0f);
    hidden[0].fill(sums, shape.dim[0], false, nullptr);
    for (int layer = 0; layer + 1 < shape.matrices; ++layer) {
      apply(layer);
      hidden[layer + 1].fill(sums, shape.dim[layer + 1], true, nullptr);
    }
  }

  void backward(const MlpBackwardTask& task, int64_t begin, int64_t count, float* grad_weights) {
    const int last = shape.matrices - 1;
    read(task.grad_out + begin, task.points, task.output_count, count, shape.dim[last + 1], 0.0f);
    grad.fill(sums, shape.dim[last + 1], false, nullptr);
    for (int layer = last; layer >= 0; --layer) {
      const int64_t in = shape.dim[layer], out = shape.dim[layer + 1];
      if (grad_weights) {
        transposed.stride = in;
        transpose(transposed, hidden[layer].planar, in, kBlock / P::kGroup);
        product<P>({grad_weights + shape.first[layer], in}, grad.planar, transposed, out, in, kBlock / P::kGroup, true);
      }
      if (layer == 0 && !task.grad_inputs) return;
      product<P>({sums, kBlock}, weights.backward[layer], grad.grouped, in, kBlock, Activations<P>::words(out), false);
      if (layer > 0) grad.fill(sums, in, false, &hidden[layer]);
    }
    write(task.grad_inputs + begin, task.points, task.input_count, count);
  }
};

// AMX tiles hold their shape per thread, and are given back so that a thread's switch does not carry them.
struct Tiles {
#if defined(__AMX_BF16__)
  Tiles() {
    const TileConfig config;
    _tile_loadconfig(&config);
  }
  ~Tiles() { _tile_release(); }
#else
  Tiles() {}
#endif
};

template <class P> void run_forward(const MlpTask& task) {
  const MlpShape shape(task);
  const PackedWeights<P> weights(shape, task.weights);
  const int64_t blocks = (task.points + kBlock - 1) / kBlock;
#pragma omp parallel if (blocks > 1)
  {
    const Tiles tiles;
    Walker<P> walker(shape, weights);
#pragma omp for schedule(static)
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t begin = b * kBlock, count = smaller(kBlock, task.points - begin);
      walker.forward(task, begin, count);
      walker.apply(shape.matrices - 1);
      walker.write(task.out + begin, task.points, task.output_count, count);
    }
  }
}

template <class P> void run_backward(const MlpBackwardTask& task) {
  const MlpShape shape(task);
  const PackedWeights<P> weights(shape, task.weights);
  const int64_t blocks = (task.points + kBlock - 1) / kBlock;
  const int64_t threads = larger<int64_t>(1, smaller<int64_t>(omp_get_max_threads(), blocks));
  // A gradient per thread, summed in the order of the threads: the same bits for the same number of threads.
  const int64_t parameters = padded_to(shape.parameters(), 16);
  Arena arena(threads * parameters);
  float* partial = arena.take(threads * parameters);
  __builtin_memset(partial, 0, threads * parameters * sizeof(float));
#pragma omp parallel num_threads(threads)
  {
    const Tiles tiles;
    Walker<P> walker(shape, weights);
    float* mine = task.grad_weights ? partial + omp_get_thread_num() * parameters : nullptr;
#pragma omp for schedule(static)
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t begin = b * kBlock, count = smaller(kBlock, task.points - begin);
      walker.forward(task, begin, count);
      walker.backward(task, begin, count, mine);
    }
  }
  if (!task.grad_weights) return;
  for (int64_t t = 0; t < threads; ++t) {
    for (int64_t i = 0; i < shape.parameters(); ++i) task.grad_weights[i] += partial[t * parameters + i];
  }
}

}  // namespace

void fused_mlp(const MlpTask& task) {
  if (task.points == 0) return;
  task.bfloat16 ? run_forward<Bfloat16>(task) : run_forward<Float32>(task);
}

void fused_mlp_backward(const MlpBackwardTask& task) {
  if (task.points == 0) return;
  task.bfloat16 ? run_backward<Bfloat16>(task) : run_backward<Float32>(task);
}

}  // namespace volkit::VOLKIT_ISA
