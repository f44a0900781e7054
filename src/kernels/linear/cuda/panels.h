#pragma once

#include <cstdint>

#include "kernels/linear/device_linear.h"

struct CUstream_st;

namespace lychee::linear::cuda {

// How prompts multiply, and sums that must be exact: weights are widened some rows at a time, a
// panel, for cuBLASLt in bf16 or, with `exact`, for plain sums in f32. `exact` holds for all
// targets of the call.

// Scratch of linear_by_panels, behind the counters of the decode kernel.
[[nodiscard]] int64_t panels_workspace_bytes(const DeviceLinearParams& params);
void linear_by_panels(const DeviceLinearParams& params, CUstream_st* stream);

}  // namespace lychee::linear::cuda
