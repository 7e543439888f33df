// How many devices can run the kernels of this module. No driver, or one too old, means none.
#include "volkit/cuda.h"

namespace volkit::cuda {

int device_count() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

}  // namespace volkit::cuda
