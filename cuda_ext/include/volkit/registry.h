// Every op of the module: its header, and VOLKIT_OP(function, Task, memory) in the list. Python gives each call the task's
// numbers and the memory named here as keywords, which task.h checks; a question mark: may be None or left out.
// `_native.OP` runs the CPU loop, `_native.OP_cuda` takes the CUDA stream as the keyword `stream` as well.
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

#define VOLKIT_OPS                                                                                                 \
  VOLKIT_OP(adam, AdamTask,                                                                                        \
            "param grad first second")                                                                             \
  VOLKIT_OP(composite, CompositeTask,                                                                              \
            "density channels t0 t1 offsets sums opacity depth weights")                                           \
  VOLKIT_OP(composite_grad, CompositeTask,                                                                         \
            "density channels t0 t1 offsets weights scratch density_grad channels_grad? sums_grad? opacity_grad? " \
            "depth_grad? weights_grad?")                                                                           \
  VOLKIT_OP(fused_mlp, MlpTask,                                                                                    \
            "inputs weights out")                                                                                  \
  VOLKIT_OP(fused_mlp_backward, MlpBackwardTask,                                                                   \
            "inputs weights grad_out grad_inputs? grad_weights?")                                                  \
  VOLKIT_OP(hash_encode, HashEncodeTask,                                                                           \
            "positions table out levels")                                                                          \
  VOLKIT_OP(hash_scatter, HashScatterTask,                                                                         \
            "positions grad_out grad_table levels")                                                                \
  VOLKIT_OP(hash_slopes, HashSlopesTask,                                                                           \
            "positions table grad_out grad_positions levels")                                                      \
  VOLKIT_OP(march_count, MarchTask,                                                                                \
            "origins directions near far jitter bits coarse counts runs")                                          \
  VOLKIT_OP(march_write, MarchTask,                                                                                \
            "origins directions near far jitter bits coarse counts runs offsets t0 t1 ray")                        \
  VOLKIT_OP(plane_sample, PlaneTask,                                                                               \
            "positions factors terms output")                                                                      \
  VOLKIT_OP(plane_sample_factor_grad, PlaneTask,                                                                   \
            "positions factors terms grad")                                                                        \
  VOLKIT_OP(plane_sample_position_grad, PlaneTask,                                                                 \
            "positions factors terms grad position_grad")                                                          \
  VOLKIT_OP(raster, RasterTask,                                                                                    \
            "corners records face barycentric depth keys?")                                                        \
  VOLKIT_OP(raster_edges, RasterTask,                                                                              \
            "corners records face depth opposite edges")                                                           \
  VOLKIT_OP(raster_grad, RasterTask,                                                                               \
            "records face barycentric depth barycentric_grad depth_grad sums corners_grad")                        \
  VOLKIT_OP(splat_blend, SplatBlendTask,                                                                           \
            "order records ends list picture opacity median")                                                            \
  VOLKIT_OP(splat_blend_grad, SplatBlendTask,                                                                      \
            "opacities order records slots ends list picture opacity picture_grad opacity_grad pair_sums "         \
            "means_grad shapes_grad opacities_grad channels_grad")                                                 \
  VOLKIT_OP(splat_count, SplatBlendTask,                                                                           \
            "means shapes opacities channels extents order drawn records counts slots")                            \
  VOLKIT_OP(splat_list, SplatBlendTask,                                                                            \
            "extents order drawn records counts slots starts list")                                                \
  VOLKIT_OP(splat_order, SplatBlendTask,                                                                           \
            "depths extents order drawn scratch")                                                                  \
  VOLKIT_OP(splat_project, SplatProjectTask,                                                                       \
            "means quaternions log_scales logits sh_dc sh_rest pose means2d shapes opacities depths colours "      \
            "extents")                                                                                             \
  VOLKIT_OP(splat_project_grad, SplatProjectTask,                                                                  \
            "means quaternions log_scales logits sh_dc sh_rest pose means2d_grad shapes_grad opacities_grad "      \
            "depths_grad colours_grad means_grad quaternions_grad log_scales_grad logits_grad sh_dc_grad "         \
            "sh_rest_grad camera_sums?")                                                                           \
  VOLKIT_OP(voxel_sample, VoxelTask,                                                                               \
            "positions links data output")                                                                         \
  VOLKIT_OP(voxel_sample_data_grad, VoxelTask,                                                                     \
            "positions links grad data_grad scratch?")                                                             \
  VOLKIT_OP(voxel_sample_position_grad, VoxelTask,                                                                 \
            "positions links data grad position_grad")
