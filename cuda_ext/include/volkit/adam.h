// Adam with bias correction folded into two constants of the step:
//   m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2,   p <- p - rate m / (sqrt(v) * root + eps)
//   rate = lr / (1 - b1^t),   root = 1 / sqrt(1 - b2^t)
#pragma once

#include "volkit/lanes.h"

namespace volkit {

struct AdamTask {
  float* param;   // [row, feature]
  float* grad;    // [row, feature], cleared in the same pass
  float* first;   // [row, feature]
  float* second;  // [row, feature]
  int64_t rows;
  int64_t features;
  float rate;
  float root;
  float beta1;
  float beta2;
  float eps;
  int64_t touched_only;  // rows with an all-zero gradient keep parameter and moments
};

}  // namespace volkit

namespace volkit::VOLKIT_ISA {

template <class T> VOLKIT_FN void adam_update(const AdamTask& task, T& param, T grad, T& first, T& second) {
  first = task.beta1 * first + (1.0f - task.beta1) * grad;
  second = task.beta2 * second + (1.0f - task.beta2) * (grad * grad);
  param = param - task.rate * first / (square_root(second) * task.root + task.eps);
}

}  // namespace volkit::VOLKIT_ISA
