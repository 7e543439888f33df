// Blending on a GPU: a block per tile, a thread per pixel, records brought to shared memory in batches. On the way back
// each splat's gradient is added up over the block, warp by warp in a fixed order, and written once per pair.
#include "volkit/cuda.h"
#include "volkit/splat_blend.h"

namespace volkit::cuda {
namespace {

constexpr int kTile = 16, kThreads = kTile * kTile, kWarps = kThreads / 32;

struct Pixel {
  int64_t begin, end, at;  // the tile's list, the pixel's place in a plane
  float x, y, left;
  bool inside;
};

__device__ Pixel open_pixel(const SplatBlendTask& task) {
  Pixel pixel;
  const int64_t wide = (task.width + kTile - 1) / kTile;
  const int64_t x = blockIdx.x % wide * kTile + threadIdx.x % kTile, y = blockIdx.x / wide * kTile + threadIdx.x / kTile;
  pixel.begin = task.ends[blockIdx.x];
  pixel.end = task.ends[blockIdx.x + 1];
  pixel.inside = x < task.width && y < task.height;
  pixel.at = y * task.width + x;
  pixel.x = float(x) + 0.5f;
  pixel.y = float(y) + 0.5f;
  pixel.left = pixel.inside ? 1.0f : -1.0f;
  return pixel;
}

// Whether channel c is seen where the ray meets the splat, and not the same all over it.
template <class Record> __device__ bool depth_varies(const SplatBlendTask& task, int64_t c) {
  return Record::kDepthVaries && task.varies_with_pixel && c == task.channel_count - 1;
}

// Channels go to global memory, pixel by pixel: a thread's own, so that they stay in the first cache.
template <class Record> __global__ void __launch_bounds__(kThreads) blend_kernel(const SplatBlendTask task) {
  __shared__ Record records[kThreads];
  __shared__ int32_t places[kThreads];
  Pixel pixel = open_pixel(task);
  const int64_t plane = task.width * task.height, stride = splat_stride(task);
  float median = INFINITY;
  if (pixel.inside) {
    for (int64_t c = 0; c < task.channel_count; ++c) task.picture[c * plane + pixel.at] = 0.0f;
  }
  for (int64_t first = pixel.begin; first < pixel.end; first += kThreads) {
    if (__syncthreads_and(pixel.left <= 0.0f)) break;
    if (first + threadIdx.x < pixel.end) {
      places[threadIdx.x] = task.list[2 * (first + threadIdx.x)];
      records[threadIdx.x] = record_at<Record>(task.records + places[threadIdx.x] * stride);
    }
    __syncthreads();
    const int count = int(smaller<int64_t>(kThreads, pixel.end - first));
    for (int k = 0; k < count && pixel.left > 0.0f; ++k) {
      const Record& s = records[k];
      const PixelFootprint<Record, float> at(s, pixel.x - s.x, pixel.y - s.y);
      const SplatHit<float> hit = splat_hit(at.power, pixel.left);
      pixel.left = hit.left;
      if (!hit.drawn) continue;
      const float* values = values_of<Record>(task.records + places[k] * stride);
      for (int64_t c = 0; c < task.channel_count; ++c) {
        task.picture[c * plane + pixel.at] += hit.weight * (depth_varies<Record>(task, c) ? at.at_pixel(values[c]) : values[c]);
      }
      if (task.varies_with_pixel && hit.before > 0.5f && hit.before - hit.weight <= 0.5f) median = at.at_pixel(values[task.channel_count - 1]);
    }
  }
  if (!pixel.inside) return;
  task.opacity[pixel.at] = 1.0f - fabsf(pixel.left);
  task.median[pixel.at] = median;
}

__device__ float warp_sum(float x) {
  for (int half = 16; half > 0; half /= 2) x += __shfl_down_sync(0xffffffffu, x, half);
  return x;
}

template <class Record> __global__ void __launch_bounds__(kThreads) pull_kernel(const SplatBlendTask task) {
  using Sums = PairSums<Record, float>;
  extern __shared__ float partial[];  // [warp, sum + channel]
  Pixel pixel = open_pixel(task);
  const int64_t plane = task.width * task.height, stride = splat_stride(task);
  const int channels = int(task.channel_count), width = Sums::kCount + channels;
  const int warp = threadIdx.x / 32, first_lane = threadIdx.x % 32 == 0;
  float behind = 0.0f;
  if (pixel.inside) {
    behind = task.opacity_grad[pixel.at] * (task.opacity[pixel.at] - 1.0f);
    for (int c = 0; c < channels; ++c) {
      behind += task.picture_grad[c * plane + pixel.at] * task.picture[c * plane + pixel.at];
    }
  }
  for (int64_t k = pixel.begin; k < pixel.end; ++k) {
    const float* record = task.records + task.list[2 * k] * stride;
    const Record s = record_at<Record>(record);
    const PixelFootprint<Record, float> at(s, pixel.x - s.x, pixel.y - s.y);
    const SplatHit<float> hit = splat_hit(at.power, pixel.left);
    const bool drawn = hit.drawn;
    pixel.left = hit.left;
    float seen = 0.0f, depth_grad = 0.0f;
    for (int c = 0; c < channels; ++c) {
      const float grad = drawn ? task.picture_grad[c * plane + pixel.at] : 0.0f;
      const bool own = depth_varies<Record>(task, c);
      const float value = values_of<Record>(record)[c], here = own ? at.at_pixel(value) : value;
      seen += grad * here;
      if (own) depth_grad = grad * hit.weight * here;
      const float total = warp_sum(own ? at.at_pixel(grad * hit.weight) : grad * hit.weight);
      if (first_lane) partial[warp * width + Sums::kCount + c] = total;
    }
    const float shown = hit.weight * seen;
    behind -= shown;
    Sums pair;
    pair.add(at, hit.free ? shown - behind * (hit.alpha / (1.0f - hit.alpha)) : 0.0f, depth_grad);
    for (int i = 0; i < Sums::kCount; ++i) {
      const float total = warp_sum(pair.sums[i]);
      if (first_lane) partial[warp * width + i] = total;
    }
    __syncthreads();
    float* to = task.pair_sums + int64_t(task.list[2 * k + 1]) * width;
    for (int i = threadIdx.x; i < width; i += kThreads) {
      float total = 0.0f;
      for (int w = 0; w < kWarps; ++w) total += partial[w * width + i];
      to[i] = total;
    }
    __syncthreads();
  }
}

template <class Record> __global__ void gather_kernel(const SplatBlendTask task) {
  const int64_t k = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (k < task.drawn_count) splat_gather_pairs<Record>(task, k);
}

unsigned tiles_of(const SplatBlendTask& task) {
  return blocks_for(task.width, kTile) * blocks_for(task.height, kTile);
}

template <class Record> void blend(const SplatBlendTask& task, cudaStream_t stream) {
  blend_kernel<Record><<<tiles_of(task), kThreads, 0, stream>>>(task);
  check_launch("splat_blend");
}

template <class Record> void pull(const SplatBlendTask& task, cudaStream_t stream) {
  const size_t bytes = sizeof(float) * kWarps * (PairSums<Record, float>::kCount + task.channel_count);
  pull_kernel<Record><<<tiles_of(task), kThreads, bytes, stream>>>(task);
  check_launch("splat_blend_grad");
  if (task.drawn_count == 0) return;
  gather_kernel<Record><<<blocks_for(task.drawn_count, 128), 128, 0, stream>>>(task);
  check_launch("splat_blend_grad");
}

}  // namespace

void splat_blend(const SplatBlendTask& task, uintptr_t stream) {
  has_surfels(task) ? blend<SurfelRecord>(task, stream_of(stream)) : blend<EllipseRecord>(task, stream_of(stream));
}

void splat_blend_grad(const SplatBlendTask& task, uintptr_t stream) {
  has_surfels(task) ? pull<SurfelRecord>(task, stream_of(stream)) : pull<EllipseRecord>(task, stream_of(stream));
}

}  // namespace volkit::cuda
