// Adam with bias correction folded into two constants of the step:
//   m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2,   p <- p - rate m / (sqrt(v) * root + eps)
//   rate = lr / (1 - b1^t),   root = 1 / sqrt(1 - b2^t)
#pragma once

#include "volkit/fields.h"
#include "volkit/lanes.h"

namespace volkit {

#define VOLKIT_ADAM_FIELDS(TENSOR, STRIDED, HOST, NUMBER)                                        \
  STRIDED(float, param, rows * features)  /* [row, feature], dense in any order */               \
  STRIDED(float, grad, rows * features)  /* cleared in the same pass */                          \
  STRIDED(float, first, rows * features)                                                         \
  STRIDED(float, second, rows * features)                                                        \
  NUMBER(int64_t, rows)                                                                          \
  NUMBER(int64_t, features)                                                                      \
  NUMBER(float, rate)                                                                            \
  NUMBER(float, root)                                                                            \
  NUMBER(float, beta1)                                                                           \
  NUMBER(float, beta2)                                                                           \
  NUMBER(float, eps)                                                                             \
  NUMBER(int64_t, touched_only)  /* rows with an all-zero gradient keep parameter and moments */
VOLKIT_TASK(AdamTask, VOLKIT_ADAM_FIELDS)

}  // namespace volkit

namespace volkit::VOLKIT_ISA {

template <class T> VOLKIT_FN void adam_update(const AdamTask& task, T& param, T grad, T& first, T& second) {
  first = task.beta1 * first + (1.0f - task.beta1) * grad;
  second = task.beta2 * second + (1.0f - task.beta2) * (grad * grad);
  param = param - task.rate * first / (square_root(second) * task.root + task.eps);
}

}  // namespace volkit::VOLKIT_ISA
