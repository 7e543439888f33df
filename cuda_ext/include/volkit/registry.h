// Every op of the module: its header, and VOLKIT_OP(function, Task) in the list. The task's fields, in order, are the
// arguments that Python gives: addresses and counts as int, numbers as float. `_native.OP` runs the CPU loop,
// `_native.OP_cuda` takes the CUDA stream as one argument more.
#pragma once

#include "volkit/adam.h"
#include "volkit/fused_mlp.h"
#include "volkit/hash_encode.h"

#define VOLKIT_OPS             \
  VOLKIT_OP(adam, AdamTask)    \
  VOLKIT_OP(hash_encode, HashEncodeTask)  \
  VOLKIT_OP(hash_scatter, HashScatterTask) \
  VOLKIT_OP(hash_slopes, HashSlopesTask) \
  VOLKIT_OP(fused_mlp, MlpTask) \
  VOLKIT_OP(fused_mlp_backward, MlpBackwardTask)
