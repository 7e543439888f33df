// Every op of the module: its header, and VOLKIT_OP(function, Task) in the list. The task's fields, in order, are the
// arguments that Python gives: addresses and counts as int, numbers as float. `_native.OP` runs the CPU loop,
// `_native.OP_cuda` takes the CUDA stream as one argument more.
#pragma once

#include "volkit/adam.h"
#include "volkit/composite.h"
#include "volkit/fused_mlp.h"
#include "volkit/hash_encode.h"
#include "volkit/march.h"
#include "volkit/plane_sample.h"
#include "volkit/raster.h"
#include "volkit/splat_blend.h"
#include "volkit/splat_project.h"
#include "volkit/voxel_sample.h"

#define VOLKIT_OPS                                  \
  VOLKIT_OP(adam, AdamTask)                         \
  VOLKIT_OP(composite, CompositeTask)               \
  VOLKIT_OP(composite_grad, CompositeTask)          \
  VOLKIT_OP(fused_mlp, MlpTask)                     \
  VOLKIT_OP(fused_mlp_backward, MlpBackwardTask)    \
  VOLKIT_OP(hash_encode, HashEncodeTask)            \
  VOLKIT_OP(hash_scatter, HashScatterTask)          \
  VOLKIT_OP(hash_slopes, HashSlopesTask)            \
  VOLKIT_OP(march_count, MarchTask)                 \
  VOLKIT_OP(march_write, MarchTask)                 \
  VOLKIT_OP(plane_sample, PlaneTask)                \
  VOLKIT_OP(plane_sample_factor_grad, PlaneTask)    \
  VOLKIT_OP(plane_sample_position_grad, PlaneTask)  \
  VOLKIT_OP(raster, RasterTask)                     \
  VOLKIT_OP(raster_edges, RasterTask)               \
  VOLKIT_OP(raster_grad, RasterTask)                \
  VOLKIT_OP(splat_blend, SplatBlendTask)            \
  VOLKIT_OP(splat_blend_grad, SplatBlendTask)       \
  VOLKIT_OP(splat_count, SplatBlendTask)            \
  VOLKIT_OP(splat_list, SplatBlendTask)             \
  VOLKIT_OP(splat_order, SplatBlendTask)            \
  VOLKIT_OP(splat_project, SplatProjectTask)        \
  VOLKIT_OP(splat_project_grad, SplatProjectTask)   \
  VOLKIT_OP(voxel_sample, VoxelTask)                \
  VOLKIT_OP(voxel_sample_data_grad, VoxelTask)      \
  VOLKIT_OP(voxel_sample_position_grad, VoxelTask)
