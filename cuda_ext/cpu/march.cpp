// The ray walk on a CPU: each thread takes bundles of rays. Counting and writing are two walks, because the samples of a
// ray are stored behind those of all rays before it; the second one begins at the first kept interval and ends at the last.
#include "volkit/march.h"

namespace volkit::VOLKIT_ISA {

void march_count(const MarchTask& task) {
#pragma omp parallel for schedule(dynamic, 128) if (task.rays > 256)
  for (int64_t ray = 0; ray < task.rays; ++ray) {
    int32_t count = 0, first = 0;
    march_walk(task, ray, 0, [&](float, float, int32_t k) {
      if (count == 0) first = k;
      return ++count < task.limit;
    });
    task.counts[ray] = count;
    task.firsts[ray] = first;
  }
}

void march_write(const MarchTask& task) {
#pragma omp parallel for schedule(dynamic, 128) if (task.rays > 256)
  for (int64_t ray = 0; ray < task.rays; ++ray) {
    int64_t at = task.offsets[ray];
    const int64_t end = task.offsets[ray + 1];
    if (at == end) continue;
    march_walk(task, ray, task.firsts[ray], [&](float t0, float t1, int32_t) {
      task.t0[at] = t0;
      task.t1[at] = t1;
      task.ray[at] = static_cast<int32_t>(ray);
      return ++at < end;
    });
  }
}

}  // namespace volkit::VOLKIT_ISA
