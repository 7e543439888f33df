// The network on a GPU, in float32: a block takes a tile of points through all layers in shared memory, one thread per
// point and group of rows, and walks on to further tiles. The backward pass repeats the forward of its tile; a block
// adds its weight gradients to an array of its own, and these are summed in a fixed order. Missing: tensor cores (so
// bfloat16 products mean float32 here), and weights kept in shared memory between tiles.
#include "volkit/cuda.h"
#include "volkit/fused_mlp.h"

namespace volkit::cuda {
namespace {

constexpr int kThreads = 256, kRows = 4;

// Rows of a tile in shared memory; one word of padding lets a warp read along points or along rows without bank
// conflicts.
template <int P> struct Tile {
  float* at;
  __device__ float& operator()(int64_t row, int point) const { return at[row * (P + 1) + point]; }
  __device__ Tile below(int64_t rows) const { return {at + rows * (P + 1)}; }
};

// to[row] = sum of matrix[row, col] * from[col], where matrix[row, col] = w[row * row_stride + col * col_stride].
template <int P>
__device__ void apply(const float* w, int64_t row_stride, int64_t col_stride, Tile<P> from, Tile<P> to, int64_t rows,
                      int64_t cols) {
  const int point = threadIdx.x % P;
  for (int64_t r = threadIdx.x / P * kRows; r < rows; r += kThreads / P * kRows) {
    float sum[kRows] = {};
    for (int64_t c = 0; c < cols; ++c) {
      const float x = from(c, point);
      for (int i = 0; i < kRows; ++i) sum[i] += __ldg(w + (r + i) * row_stride + c * col_stride) * x;
    }
    for (int i = 0; i < kRows; ++i) to(r + i, point) = sum[i];
  }
  __syncthreads();
}

template <int P>
__device__ void read_tile(const float* from, int64_t points, int64_t begin, int64_t rows, int64_t padded, float fill,
                          Tile<P> to) {
  for (int64_t i = threadIdx.x; i < padded * P; i += kThreads) {
    const int64_t row = i / P, point = begin + i % P;
    to(row, int(i % P)) = row >= rows ? fill : point < points ? from[row * points + point] : 0.0f;
  }
  __syncthreads();
}

template <int P> __device__ void write_tile(float* to, int64_t points, int64_t begin, int64_t rows, Tile<P> from) {
  for (int64_t i = threadIdx.x; i < rows * P; i += kThreads) {
    if (begin + i % P < points) to[i / P * points + begin + i % P] = from(i / P, int(i % P));
  }
  __syncthreads();
}

// Inputs, and each hidden layer after its rectifier, one below another; returns the last.
template <int P, class Task>
__device__ Tile<P> walk_forward(const Task& task, const MlpShape& shape, int64_t begin, Tile<P> hidden) {
  read_tile(task.inputs, task.points, begin, task.input_count, shape.dim[0], 1.0f, hidden);
  for (int layer = 0; layer + 1 < shape.matrices; ++layer) {
    const int64_t in = shape.dim[layer], out = shape.dim[layer + 1];
    const Tile<P> next = hidden.below(in);
    apply(task.weights + shape.first[layer], in, 1, hidden, next, out, in);
    for (int64_t i = threadIdx.x; i < out * P; i += kThreads) {
      float& h = next(i / P, int(i % P));
      h = h < 0.0f ? 0.0f : h;
    }
    __syncthreads();
    hidden = next;
  }
  return hidden;
}

template <int P> __global__ void __launch_bounds__(kThreads) forward_kernel(const MlpTask task, const MlpShape shape) {
  extern __shared__ float memory[];
  const int last = shape.matrices - 1;
  for (int64_t begin = int64_t(blockIdx.x) * P; begin < task.points; begin += int64_t(gridDim.x) * P) {
    const Tile<P> hidden = walk_forward(task, shape, begin, Tile<P>{memory});
    const Tile<P> out = hidden.below(shape.dim[last]);
    apply(task.weights + shape.first[last], shape.dim[last], 1, hidden, out, shape.dim[last + 1], shape.dim[last]);
    write_tile(task.out, task.points, begin, task.output_count, out);
  }
}

// sums[out, in] += sum over points of grad[out] * hidden[in]
template <int P> __device__ void add_outer(float* sums, Tile<P> grad, Tile<P> hidden, int64_t out, int64_t in) {
  for (int64_t i = threadIdx.x; i < out * in; i += kThreads) {
    float sum = 0.0f;
    for (int p = 0; p < P; ++p) sum += grad(i / in, p) * hidden(i % in, p);
    sums[i] += sum;
  }
}

template <int P>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(const MlpBackwardTask task, const MlpShape shape, float* partial) {
  extern __shared__ float memory[];
  const int last = shape.matrices - 1;
  const Tile<P> inputs{memory};
  for (int64_t begin = int64_t(blockIdx.x) * P; begin < task.points; begin += int64_t(gridDim.x) * P) {
    Tile<P> hidden = walk_forward(task, shape, begin, inputs);
    Tile<P> grad = hidden.below(shape.dim[last]), other = grad.below(shape.widest());
    read_tile(task.grad_out, task.points, begin, task.output_count, shape.dim[last + 1], 0.0f, grad);
    for (int layer = last; layer >= 0; --layer) {
      const int64_t in = shape.dim[layer], out = shape.dim[layer + 1];
      const float* weights = task.weights + shape.first[layer];
      if (task.grad_weights) {
        add_outer(partial + blockIdx.x * shape.parameters() + shape.first[layer], grad, hidden, out, in);
      }
      if (layer == 0 && !task.grad_inputs) break;
      apply(weights, 1, in, grad, other, in, out);
      if (layer == 0) {
        write_tile(task.grad_inputs, task.points, begin, task.input_count, other);
        break;
      }
      for (int64_t i = threadIdx.x; i < in * P; i += kThreads) {
        if (!(hidden(i / P, int(i % P)) > 0.0f)) other(i / P, int(i % P)) = 0.0f;
      }
      __syncthreads();
      const Tile<P> swap = grad;
      grad = other, other = swap;
      hidden = Tile<P>{hidden.at - shape.dim[layer - 1] * (P + 1)};
    }
    __syncthreads();
  }
}

__global__ void sum_kernel(const float* partial, int blocks, int64_t parameters, float* to) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= parameters) return;
  float sum = 0.0f;
  for (int b = 0; b < blocks; ++b) sum += partial[b * parameters + i];
  to[i] += sum;
}

struct Launch {
  int blocks;
  size_t bytes;
};

// As many blocks as run at once; shared memory for `rows` rows of P points.
template <int P, class Kernel> Launch launch_for(Kernel kernel, int64_t rows, int64_t points, const char* op) {
  const size_t bytes = rows * (P + 1) * sizeof(float);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes)), op);
  int device = 0, processors = 0, per_processor = 0;
  check(cudaGetDevice(&device), op);
  check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device), op);
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&per_processor, kernel, kThreads, bytes), op);
  const int64_t tiles = (points + P - 1) / P;
  const int64_t resident = int64_t(processors) * (per_processor > 0 ? per_processor : 1);
  return {int(tiles < resident ? tiles : resident), bytes};
}

int64_t rows_of(const MlpShape& shape, bool backward) {
  int64_t rows = backward ? 2 * shape.widest() : shape.dim[shape.matrices];
  for (int i = 0; i < shape.matrices; ++i) rows += shape.dim[i];
  return rows;
}

template <int P> void forward(const MlpTask& task, const MlpShape& shape, cudaStream_t stream) {
  const Launch launch = launch_for<P>(forward_kernel<P>, rows_of(shape, false), task.points, "fused_mlp");
  forward_kernel<P><<<launch.blocks, kThreads, launch.bytes, stream>>>(task, shape);
  check_launch("fused_mlp");
}

template <int P> void backward(const MlpBackwardTask& task, const MlpShape& shape, cudaStream_t stream) {
  const char* op = "fused_mlp_backward";
  const Launch launch = launch_for<P>(backward_kernel<P>, rows_of(shape, true), task.points, op);
  float* partial = nullptr;
  const int64_t parameters = shape.parameters();
  if (task.grad_weights) {
    const size_t bytes = launch.blocks * parameters * sizeof(float);
    check(cudaMallocAsync(reinterpret_cast<void**>(&partial), bytes, stream), op);
    check(cudaMemsetAsync(partial, 0, bytes, stream), op);
  }
  backward_kernel<P><<<launch.blocks, kThreads, launch.bytes, stream>>>(task, shape, partial);
  check_launch(op);
  if (task.grad_weights) {
    sum_kernel<<<blocks_for(parameters, 256), 256, 0, stream>>>(partial, launch.blocks, parameters, task.grad_weights);
    check_launch(op);
    check(cudaFreeAsync(partial, stream), op);
  }
}

// 99 KiB is what every architecture of the wheel gives a block.
bool fits_wide(const MlpShape& shape, bool is_backward) { return rows_of(shape, is_backward) * 33 * 4 <= 99 * 1024; }

}  // namespace

void fused_mlp(const MlpTask& task, uintptr_t stream) {
  if (task.points == 0) return;
  const MlpShape shape(task);
  fits_wide(shape, false) ? forward<32>(task, shape, stream_of(stream)) : forward<16>(task, shape, stream_of(stream));
}

void fused_mlp_backward(const MlpBackwardTask& task, uintptr_t stream) {
  if (task.points == 0) return;
  const MlpShape shape(task);
  fits_wide(shape, true) ? backward<32>(task, shape, stream_of(stream)) : backward<16>(task, shape, stream_of(stream));
}

}  // namespace volkit::cuda
