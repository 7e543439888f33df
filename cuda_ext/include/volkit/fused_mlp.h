// A bias-free ReLU network in the layout of tiny-cuda-nn: matrices (out, in), row-major, one after another; inputs
// padded with ones and outputs with rows that nobody reads, both to multiples of 16.
//   h0 = W0 [x; 1],   h(i) = W(i) relu(h(i-1)),   y = the first rows of the last
#pragma once

#include "volkit/fields.h"
#include "volkit/lanes.h"

namespace volkit {

// Length of the weight vector: matrices (out, in), padded to multiples of 16.
constexpr int64_t mlp_parameters(int64_t inputs, int64_t outputs, int64_t width, int64_t hidden_layers) {
  return width * ((inputs + 15) / 16 * 16 + (hidden_layers - 1) * width + (outputs + 15) / 16 * 16);
}

#define VOLKIT_MLP_FIELDS(TENSOR, STRIDED, HOST, NUMBER)                                                           \
  TENSOR(const float, inputs, input_count * points)  /* [in, point]: planar */                                     \
  TENSOR(const float, weights, mlp_parameters(input_count, output_count, width, hidden_layers))  /* [parameter] */ \
  TENSOR(float, out, output_count * points)  /* [out, point]: planar */                                            \
  NUMBER(int64_t, points)                                                                                          \
  NUMBER(int64_t, input_count)                                                                                     \
  NUMBER(int64_t, output_count)                                                                                    \
  NUMBER(int64_t, width)                                                                                           \
  NUMBER(int64_t, hidden_layers)                                                                                   \
  NUMBER(int64_t, bfloat16)  /* round the operands of products to bfloat16; sums are float32 */
VOLKIT_TASK(MlpTask, VOLKIT_MLP_FIELDS)

#define VOLKIT_MLP_BACKWARD_FIELDS(TENSOR, STRIDED, HOST, NUMBER)                                                  \
  TENSOR(const float, inputs, input_count * points)  /* [in, point]: planar */                                     \
  TENSOR(const float, weights, mlp_parameters(input_count, output_count, width, hidden_layers))  /* [parameter] */ \
  TENSOR(const float, grad_out, output_count * points)  /* [out, point]: planar */                                 \
  TENSOR(float, grad_inputs, input_count * points)  /* [in, point]: planar, written; null: not wanted */           \
  TENSOR(float, grad_weights, mlp_parameters(input_count, output_count, width, hidden_layers))  /* [parameter], added to; null: not wanted */ \
  NUMBER(int64_t, points)                                                                                          \
  NUMBER(int64_t, input_count)                                                                                     \
  NUMBER(int64_t, output_count)                                                                                    \
  NUMBER(int64_t, width)                                                                                           \
  NUMBER(int64_t, hidden_layers)                                                                                   \
  NUMBER(int64_t, bfloat16)  /* round the operands of products to bfloat16; sums are float32 */
VOLKIT_TASK(MlpBackwardTask, VOLKIT_MLP_BACKWARD_FIELDS)

constexpr int kMaxMatrices = 5, kMaxInputs = 160, kMaxWidth = 128;

}  // namespace volkit

namespace volkit::VOLKIT_ISA {

VOLKIT_FN int64_t padded_to(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// The matrices of a network: matrix i maps dim[i] to dim[i + 1] and starts at first[i].
struct MlpShape {
  int matrices;
  int64_t dim[kMaxMatrices + 1];
  int64_t first[kMaxMatrices + 1];

  template <class Task> VOLKIT_FN explicit MlpShape(const Task& task) : matrices(int(task.hidden_layers) + 1) {
    first[0] = 0;
    for (int i = 0; i <= matrices; ++i) dim[i] = task.width;
    dim[0] = padded_to(task.input_count, 16);
    dim[matrices] = padded_to(task.output_count, 16);
    for (int i = 0; i < matrices; ++i) first[i + 1] = first[i] + dim[i] * dim[i + 1];
  }

  VOLKIT_FN int64_t parameters() const { return first[matrices]; }
  VOLKIT_FN int64_t widest() const {
    int64_t most = 0;
    for (int i = 0; i <= matrices; ++i) most = larger(most, dim[i]);
    return most;
  }
};

}  // namespace volkit::VOLKIT_ISA
