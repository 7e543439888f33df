// How work is cut for the threads of a CPU.
#pragma once

#include <omp.h>

#include "volkit/lanes.h"

namespace volkit::VOLKIT_ISA {

// Into how many pieces each of `jobs` equal jobs over `items` is cut: two jobs a thread, no piece below `least` items.
inline int64_t job_cuts(int64_t jobs, int64_t items, int64_t least) {
  const int64_t wanted = (2 * int64_t(omp_get_max_threads()) + jobs - 1) / jobs;
  return larger<int64_t>(1, smaller(wanted, items / least));
}

// Where piece `cut` of `cuts` begins: whole vectors, so that only the last piece has a remainder.
inline int64_t cut_at(int64_t items, int64_t cut, int64_t cuts) {
  return cut == cuts ? items : items * cut / cuts / kLanes * kLanes;
}

}  // namespace volkit::VOLKIT_ISA
