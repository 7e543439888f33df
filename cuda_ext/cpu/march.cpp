// The ray walk on a CPU: as many rays at once as a vector has lanes, groups of them shared out among threads.
#include "volkit/march_runs.h"

namespace volkit::VOLKIT_ISA {
namespace {

void find_empty_blocks(const MarchTask& task) {
  const int64_t blocks = task.resolution * task.resolution * task.resolution / 512;
#pragma omp parallel for schedule(static) if (blocks > 4096)
  for (int64_t block = 0; block < blocks; ++block) task.coarse[block] = march_block_empty(task, block) ? 3 : 0;
  uint8_t level = 4;
  for (int64_t side = 8; side <= blocks; side *= 8, ++level) {
    for (int64_t first = 0; first < blocks; first += side) {
      bool empty = true;
      for (int64_t part = 0; part < 8; ++part) empty = empty && task.coarse[first + part * (side / 8)] == level - 1;
      for (int64_t i = 0; empty && i < side; ++i) task.coarse[first + i] = level;
    }
  }
}

}  // namespace

void march_count(const MarchTask& task) {
  find_empty_blocks(task);
#pragma omp parallel for schedule(dynamic, 8) if (task.rays > 256)
  for (int64_t first = 0; first < task.rays; first += kLanes) {
    march_find_runs<Lanes>(task, first, 0, task.runs + 2 * kMarchRuns * first, task.counts + first);
  }
}

void march_write(const MarchTask& task) {
#pragma omp parallel for schedule(dynamic, 8) if (task.rays > 256)
  for (int64_t first = 0; first < task.rays; first += kLanes) march_write_rays<Lanes>(task, first);
}

}  // namespace volkit::VOLKIT_ISA
