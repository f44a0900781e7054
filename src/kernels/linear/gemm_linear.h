#pragma once

#include <cstdint>

#include "kernels/linear/linear.h"
#include "kernels/linear/linear_backward.h"

struct CUstream_st;

namespace lychee::linear {

class DeviceGemm;

namespace cuda {

// `linear` and its adjoint over many rows, by cuBLASLt alone. Pointers are device memory. Weights
// are bf16 or f32 in DeviceFormat's plain form (rows device_row_stride() apart); activations are
// rounded to bf16 for bf16 weights and stay f32 for f32 weights. Sums and outputs are f32. `exact`
// is not read. Workspaces grow with the rows and are aligned to 256 bytes.
[[nodiscard]] int64_t gemm_linear_workspace_bytes(const LinearParams& params);
void gemm_linear(const LinearParams& params, const DeviceGemm& gemm, CUstream_st* stream);
[[nodiscard]] int64_t gemm_linear_backward_workspace_bytes(
    const LinearBackwardParams<float>& params);
void gemm_linear_backward(const LinearBackwardParams<float>& params, const DeviceGemm& gemm,
                          CUstream_st* stream);

}  // namespace cuda
}  // namespace lychee::linear
