#include "volkit/fused_mlp.h"
#include "volkit/cuda.h"
namespace volkit::cuda { void fused_mlp(const MlpTask&, uintptr_t) {} void fused_mlp_backward(const MlpBackwardTask&, uintptr_t) {} }
