// Planes and lines on a CPU. Forward and the gradient of positions are shared out by points. The gradient of the factors is
// shared out by channels: a thread goes over all points for its own channels of every term, so that there are no atomics
// and the order of additions does not depend on the number of threads.
#include <omp.h>

#include "volkit/plane_sample.h"

namespace volkit::VOLKIT_ISA {
namespace {

constexpr int64_t kAhead = 16;   // points between asking for texels and reading them
constexpr int64_t kChunk = 256;  // points whose output rows stay in cache from term to term

VOLKIT_FN void fetch(const float* at, int64_t begin, int64_t end) {
  for (int64_t c = begin; c < end; c += 16) __builtin_prefetch(at + c);
}

VOLKIT_FN void fetch_spot(const float* at, const PlaneSpot& spot, int64_t begin, int64_t end) {
  fetch(at, begin, end);
  fetch(at + spot.step_u, begin, end);
  if (plane_is_line(spot)) return;
  fetch(at + spot.step_v, begin, end);
  fetch(at + spot.step_v + spot.step_u, begin, end);
}

// Finds where a point reads the factors of a term, and asks for channels [begin, end) of those texels.
VOLKIT_FN void find_spots(const PlaneTask& task, const PlaneTerm& term, int64_t point, int64_t begin, int64_t end,
                          bool with_grad, PlaneSpot* spots) {
  const PlaneFactor* factors = task.factors + term.first;
  for (int64_t k = 0; k < term.factors; ++k) {
    spots[k] = plane_spot(factors[k], term.channels, task.positions + point * task.axes);
    fetch_spot(plane_data(factors[k], spots[k]), spots[k], begin, end);
    if (with_grad && factors[k].grad) fetch_spot(plane_grad(factors[k], spots[k]), spots[k], begin, end);
  }
  if (with_grad && !task.reduce) {
    const float* grad = task.grad + point * task.features + term.feature;
    fetch(grad, begin, end);
    __builtin_prefetch(grad + end - 1);
  }
}

// Calls f(point, spots) for the points of a chunk, their texels on the way since kAhead points before.
template <class F>
VOLKIT_FN void over_points(const PlaneTask& task, const PlaneTerm& term, int64_t first, int64_t last, int64_t begin,
                           int64_t end, bool with_grad, const F& f) {
  PlaneSpot ring[kAhead][kPlaneFactors];
  const auto find = [&](int64_t point) {
    if (point < last) find_spots(task, term, point, begin, end, with_grad, ring[point % kAhead]);
  };
  for (int64_t point = first; point < first + kAhead; ++point) find(point);
  for (int64_t point = first; point < last; ++point) {
    f(point, ring[point % kAhead]);
    find(point + kAhead);
  }
}

VOLKIT_FN void read_point(const PlaneTask& task, const PlaneTerm& term, const PlaneSpot* spots, float* output) {
  const PlaneFactor* factors = task.factors + term.first;
  float total = 0.0f;
  for_channels(0, term.channels, [&](auto zero, int64_t c, int64_t skip) {
    using T = decltype(zero);
    T product = plane_read<T>(plane_data(factors[0], spots[0]) + c, spots[0]);
    for (int k = 1; k < term.factors; ++k) product *= plane_read<T>(plane_data(factors[k], spots[k]) + c, spots[k]);
    if (task.reduce) {
      total += sum(drop(product, skip));
    } else {
      put(output + term.feature + c, product);
    }
  });
  if (task.reduce) *output += total;
}

template <class T> VOLKIT_FN T grad_at(const PlaneTask& task, int64_t point, int64_t feature) {
  return task.reduce ? task.grad[point] + T{} : get<T>(task.grad + point * task.features + feature);
}

template <class T> VOLKIT_FN void add_to(float* at, T x) { put(at, get<T>(at) + x); }

template <class T> VOLKIT_FN void add_row(float* at, int64_t step_u, float u, T grad) {
  add_to(at, (1.0f - u) * grad);
  add_to(at + step_u, u * grad);
}

template <class T> VOLKIT_FN void add_spot(float* at, const PlaneSpot& spot, T grad) {
  if (plane_is_line(spot)) {
    add_row(at, spot.step_u, spot.u, grad);
  } else {
    add_row(at, spot.step_u, spot.u, (1.0f - spot.v) * grad);
    add_row(at + spot.step_v, spot.step_u, spot.u, spot.v * grad);
  }
}

VOLKIT_FN void scatter_point(const PlaneTask& task, const PlaneTerm& term, const PlaneSpot* spots, int64_t point,
                             int64_t begin, int64_t end) {
  const PlaneFactor* factors = task.factors + term.first;
  for_channels(begin, end, [&](auto zero, int64_t c, int64_t skip) {
    using T = decltype(zero);
    T values[kPlaneFactors], others[kPlaneFactors];
    for (int k = 0; k < term.factors; ++k) values[k] = plane_read<T>(plane_data(factors[k], spots[k]) + c, spots[k]);
    plane_others(values, int(term.factors), drop(grad_at<T>(task, point, term.feature + c), skip), others);
    for (int k = 0; k < term.factors; ++k) {
      if (factors[k].grad) add_spot(plane_grad(factors[k], spots[k]) + c, spots[k], others[k]);
    }
  });
}

VOLKIT_FN void pull_point(const PlaneTask& task, const PlaneTerm& term, int64_t point, float* result) {
  const PlaneFactor* factors = task.factors + term.first;
  const float* position = task.positions + point * task.axes;
  PlaneSpot spots[kPlaneFactors];
  for (int k = 0; k < term.factors; ++k) spots[k] = plane_spot(factors[k], term.channels, position);
  for_channels(0, term.channels, [&](auto zero, int64_t c, int64_t skip) {
    using T = decltype(zero);
    T values[kPlaneFactors], others[kPlaneFactors];
    for (int k = 0; k < term.factors; ++k) values[k] = plane_read<T>(plane_data(factors[k], spots[k]) + c, spots[k]);
    plane_others(values, int(term.factors), drop(grad_at<T>(task, point, term.feature + c), skip), others);
    for (int k = 0; k < term.factors; ++k) {
      const PlaneFactor& factor = factors[k];
      const float* at = plane_data(factor, spots[k]) + c;
      result[factor.axis_u] += plane_slope(position[factor.axis_u], factor.size_u) *
                               sum(others[k] * plane_slope_u<T>(at, spots[k]));
      if (factor.axis_v < 0) continue;
      result[factor.axis_v] += plane_slope(position[factor.axis_v], factor.size_v) *
                               sum(others[k] * plane_slope_v<T>(at, spots[k]));
    }
  });
}

}  // namespace

void plane_sample(const PlaneTask& task) {
  const int64_t width = task.reduce ? 1 : task.features;
#pragma omp parallel for schedule(static) if (task.points > 1024)
  for (int64_t first = 0; first < task.points; first += kChunk) {
    const int64_t last = smaller(first + kChunk, task.points);
    for (int64_t point = first; point < last && task.reduce; ++point) task.output[point] = 0.0f;
    for (int64_t t = 0; t < task.term_count; ++t) {
      const PlaneTerm& term = task.terms[t];
      over_points(task, term, first, last, 0, term.channels, false, [&](int64_t point, const PlaneSpot* spots) {
        read_point(task, term, spots, task.output + point * width);
      });
    }
  }
}

void plane_sample_factor_grad(const PlaneTask& task) {
#pragma omp parallel if (task.points > 256)
  {
    // A border between threads falls on whole vectors of 8 channels.
    const int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
    const int64_t low = task.features * thread / threads / 8 * 8;
    const int64_t high = thread + 1 == threads ? task.features : task.features * (thread + 1) / threads / 8 * 8;
    for (int64_t t = 0; t < task.term_count; ++t) {
      const PlaneTerm& term = task.terms[t];
      const int64_t begin = larger<int64_t>(low - term.feature, 0);
      const int64_t end = smaller(high - term.feature, term.channels);
      if (begin >= end) continue;
      over_points(task, term, 0, task.points, begin, end, true, [&](int64_t point, const PlaneSpot* spots) {
        scatter_point(task, term, spots, point, begin, end);
      });
    }
  }
}

void plane_sample_position_grad(const PlaneTask& task) {
#pragma omp parallel for schedule(static) if (task.points > 1024)
  for (int64_t point = 0; point < task.points; ++point) {
    float* result = task.position_grad + point * task.axes;
    for (int64_t a = 0; a < task.axes; ++a) result[a] = 0.0f;
    for (int64_t t = 0; t < task.term_count; ++t) pull_point(task, task.terms[t], point, result);
  }
}

}  // namespace volkit::VOLKIT_ISA
