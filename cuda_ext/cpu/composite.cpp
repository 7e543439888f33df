// Compositing on a CPU. A thread owns a run of rays with its share of the samples, and goes through them in bundles of
// whole rays that stay in its first cache: exponentials of all samples of a bundle at once, sums ray by ray.
#include <omp.h>

#include "volkit/channels.h"
#include "volkit/composite.h"

namespace volkit::VOLKIT_ISA {
namespace {

constexpr int64_t kBundle = 512;

// The first ray whose samples begin at or behind `sample`.
int64_t ray_at(const CompositeTask& task, int64_t sample) {
  int64_t low = 0, high = task.rays;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (task.offsets[middle] < sample) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// Calls f(first ray, last ray + 1) for bundles of about kBundle samples, each a whole number of rays.
template <class F> void for_bundles(const CompositeTask& task, const F& f) {
  const int64_t first = task.offsets[0], samples = task.offsets[task.rays] - first;
#pragma omp parallel if (samples > 4096)
  {
    const int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
    int64_t ray = thread == 0 ? 0 : ray_at(task, first + samples * thread / threads);
    const int64_t end =
        thread + 1 == threads ? task.rays : ray_at(task, first + samples * (thread + 1) / threads);
    while (ray < end) {
      int64_t stop = ray + 1;
      while (stop < end && task.offsets[stop + 1] - task.offsets[ray] <= kBundle) ++stop;
      f(ray, stop);
      ray = stop;
    }
  }
}

// before[i] = sum of tau over the earlier samples of the ray. It is kept in the array that the result goes to.
void sum_before(const CompositeTask& task, int64_t ray, int64_t end, float* before) {
  for (; ray < end; ++ray) {
    float sum = 0.0f;
    for (int64_t i = task.offsets[ray]; i < task.offsets[ray + 1]; ++i) {
      before[i] = sum;
      sum += task.density[i] * (task.t1[i] - task.t0[i]);
    }
  }
}

VOLKIT_FN Lanes load_some(const float* from, int64_t count) {
  if (count == kLanes) return load(from);
  Lanes x{};
  for (int64_t i = 0; i < count; ++i) x[i] = from[i];
  return x;
}

VOLKIT_FN void store_some(float* to, Lanes x, int64_t count) {
  if (count == kLanes) {
    store(to, x);
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] = x[i];
  }
}

// to[i] <- f(to[i], tau_i, i, count) over the samples of a bundle.
template <class F> void over_samples(const CompositeTask& task, int64_t ray, int64_t end, float* to, const F& f) {
  const int64_t last = task.offsets[end];
  for (int64_t i = task.offsets[ray]; i < last; i += kLanes) {
    const int64_t count = smaller<int64_t>(kLanes, last - i);
    const Lanes length = load_some(task.t1 + i, count) - load_some(task.t0 + i, count);
    const Lanes tau = load_some(task.density + i, count) * length;
    store_some(to + i, f(load_some(to + i, count), tau, i, count), count);
  }
}

void add_up(const CompositeTask& task, int64_t ray) {
  const int64_t begin = task.offsets[ray], end = task.offsets[ray + 1], n = task.channel_count;
  float* sums = task.sums + ray * n;
  float opacity = 0.0f, depth = 0.0f;
  for (int64_t i = begin; i < end; ++i) {
    opacity += task.weights[i];
    depth += task.weights[i] * 0.5f * (task.t0[i] + task.t1[i]);
  }
  task.opacity[ray] = opacity;
  task.depth[ray] = depth;
  if (task.channel_stride == 1 && n >= 4) {
    for_channels(0, n, [&](auto zero, int64_t at, int64_t) {
      using T = decltype(zero);
      T sum{};
      for (int64_t i = begin; i < end; ++i) {
        sum += task.weights[i] * get<T>(task.channels + i * task.sample_stride + at);
      }
      put(sums + at, sum);
    });
    return;
  }
  for (int64_t c = 0; c < n; ++c) {
    const float* channel = task.channels + c * task.channel_stride;
    float sum = 0.0f;
    for (int64_t i = begin; i < end; ++i) sum += task.weights[i] * channel[i * task.sample_stride];
    sums[c] = sum;
  }
}

// q_i = dL/dw_i for the samples of a ray.
void pull_back(const CompositeTask& task, int64_t ray, float* q) {
  const int64_t begin = task.offsets[ray], end = task.offsets[ray + 1], n = task.channel_count;
  const float opacity = task.opacity_grad ? task.opacity_grad[ray] : 0.0f;
  const float depth = task.depth_grad ? 0.5f * task.depth_grad[ray] : 0.0f;
  for (int64_t i = begin; i < end; ++i) {
    q[i] = opacity + depth * (task.t0[i] + task.t1[i]) + (task.weights_grad ? task.weights_grad[i] : 0.0f);
  }
  if (!task.sums_grad) return;
  const float* grad = task.sums_grad + ray * n;
  if (task.channel_stride == 1 && n >= 4) {
    for (int64_t i = begin; i < end; ++i) {
      const float* row = task.channels + i * task.sample_stride;
      for_channels(0, n, [&](auto zero, int64_t at, int64_t skip) {
        using T = decltype(zero);
        q[i] += sum(drop(get<T>(grad + at), skip) * get<T>(row + at));
      });
    }
    return;
  }
  for (int64_t c = 0; c < n; ++c) {
    const float* channel = task.channels + c * task.channel_stride;
    for (int64_t i = begin; i < end; ++i) q[i] += grad[c] * channel[i * task.sample_stride];
  }
}

void pull_channels(const CompositeTask& task, int64_t ray) {
  const int64_t begin = task.offsets[ray], end = task.offsets[ray + 1], n = task.channel_count;
  const float* grad = task.sums_grad + ray * n;
  if (task.grad_channel_stride == 1 && n >= 4) {
    for (int64_t i = begin; i < end; ++i) {
      float* row = task.channels_grad + i * task.grad_sample_stride;
      for_channels(0, n, [&](auto zero, int64_t at, int64_t) {
        using T = decltype(zero);
        put(row + at, task.weights[i] * get<T>(grad + at));
      });
    }
    return;
  }
  for (int64_t c = 0; c < n; ++c) {
    float* channel = task.channels_grad + c * task.grad_channel_stride;
    for (int64_t i = begin; i < end; ++i) channel[i * task.grad_sample_stride] = task.weights[i] * grad[c];
  }
}

// The last step of dL/ddensity, back to front: what is behind a sample is dimmed by it.
void subtract_behind(const CompositeTask& task, int64_t ray) {
  float behind = 0.0f;
  for (int64_t i = task.offsets[ray + 1] - 1; i >= task.offsets[ray]; --i) {
    task.density_grad[i] = (task.density_grad[i] - behind) * (task.t1[i] - task.t0[i]);
    behind += task.weights[i] * task.scratch[i];
  }
}

}  // namespace

void composite(const CompositeTask& task) {
  const Lanes stop = broadcast(task.stop);
  for_bundles(task, [&](int64_t first, int64_t end) {
    sum_before(task, first, end, task.weights);
    over_samples(task, first, end, task.weights,
                 [&](Lanes before, Lanes tau, int64_t, int64_t) { return composite_weight(before, tau, stop); });
    for (int64_t ray = first; ray < end; ++ray) add_up(task, ray);
  });
}

void composite_grad(const CompositeTask& task) {
  const Lanes stop = broadcast(task.stop);
  for_bundles(task, [&](int64_t first, int64_t end) {
    sum_before(task, first, end, task.density_grad);
    for (int64_t ray = first; ray < end; ++ray) pull_back(task, ray, task.scratch);
    over_samples(task, first, end, task.density_grad, [&](Lanes before, Lanes tau, int64_t i, int64_t count) {
      return composite_own_grad(before, tau, stop, load_some(task.scratch + i, count));
    });
    for (int64_t ray = first; ray < end; ++ray) {
      subtract_behind(task, ray);
      if (task.channels_grad) pull_channels(task, ray);
    }
  });
}

}  // namespace volkit::VOLKIT_ISA
