#pragma once

#include <cstdint>

#include "kernels/linear/device_linear.h"

struct CUstream_st;

namespace lychee::linear::cuda {

constexpr int64_t kScratchAlignment = 256;  // bytes; of the workspace and the arrays in it

// How prompts multiply, and sums that must be exact: weights are widened some rows at a time, a
// panel, for cuBLASLt in bf16 or, with `exact`, for plain sums in f32. `exact` holds for all
// targets of the call.

// One weight times rows of bf16 by cuBLASLt.
struct PanelProduct {
  const DeviceGemm* gemm;
  int64_t num_rows;
  const bf16* x;     // [num_rows, in_features], row stride x_stride
  int64_t x_stride;  // elements, a multiple of 8
  DeviceWeight weight;
  const float* bias;  // [out_features] or null
  float* y;           // [num_rows, out_features], row stride y_stride, or null
  bf16* y_bf16;       // else the same, rounded; without a bias
  int64_t y_stride;
  bool accumulate;
  void* panel;           // gemm_panel_bytes(weight)
  void* gemm_workspace;  // DeviceGemm::kWorkspaceBytes
};
[[nodiscard]] int64_t gemm_panel_bytes(const DeviceWeight& weight);
void multiply_by_panels(const PanelProduct& product, CUstream_st* stream);

// Scratch of linear_by_panels, behind the counters of the decode kernel.
[[nodiscard]] int64_t panels_workspace_bytes(const DeviceLinearParams& params);
void linear_by_panels(const DeviceLinearParams& params, CUstream_st* stream);

}  // namespace lychee::linear::cuda
