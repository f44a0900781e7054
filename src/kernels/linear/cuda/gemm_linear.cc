#include "kernels/linear/gemm_linear.h"

#include <cuda_runtime_api.h>

#include "base/check.h"
#include "kernels/linear/cuda/widen.h"
#include "kernels/linear/device_linear.h"

namespace lychee::linear::cuda {
namespace {

// Behind cuBLASLt's scratch lie the activations in bf16, plain_row_stride() apart.
int64_t scratch_bytes(DType dtype, int64_t num_rows, int64_t width) {
  const int64_t rounded = dtype == DType::kF32 ? 0 : num_rows * plain_row_stride(width);
  return DeviceGemm::kWorkspaceBytes + rounded * static_cast<int64_t>(sizeof(bf16));
}

// Fills in `in`, [num_rows, width], in the weight's type.
void take_input(DeviceGemm::Params& p, const float* in, int64_t in_stride, int64_t width,
                cudaStream_t stream) {
  require(p.dtype == DType::kBF16 || p.dtype == DType::kF32, ErrorCode::kInternal,
          "gemm_linear takes weights in bf16 and f32, not ", dtype_info(p.dtype).name);
  p.weight_stride = device_row_stride(device_format(p.dtype), p.in_features);
  p.in = in;
  p.in_stride = in_stride;
  if (p.dtype == DType::kBF16) {
    auto* rounded =
        reinterpret_cast<bf16*>(static_cast<std::byte*>(p.workspace) + DeviceGemm::kWorkspaceBytes);
    p.in = rounded;
    p.in_stride = plain_row_stride(width);
    round_rows(p.num_rows, width, in, in_stride, rounded, p.in_stride, stream);
  }
}

}  // namespace

int64_t gemm_linear_workspace_bytes(const LinearParams& p) {
  return scratch_bytes(p.weight_dtype, p.num_rows, p.in_features);
}

void gemm_linear(const LinearParams& p, const DeviceGemm& gemm, CUstream_st* stream) {
  DeviceGemm::Params call{.num_rows = p.num_rows,
                          .out_features = p.out_features,
                          .in_features = p.in_features,
                          .dtype = p.weight_dtype,
                          .in = nullptr,
                          .weight = p.weight,
                          .in_stride = 0,
                          .weight_stride = 0,
                          .bias = p.bias,
                          .out = p.y,
                          .out_stride = p.y_stride,
                          .accumulate = p.accumulate,
                          .adjoint = false,
                          .workspace = p.workspace};
  take_input(call, p.x, p.x_stride, p.in_features, stream);
  gemm.multiply(call, stream);
}

int64_t gemm_linear_backward_workspace_bytes(const LinearBackwardParams<float>& p) {
  return scratch_bytes(p.weight_dtype, p.num_rows, p.out_features);
}

void gemm_linear_backward(const LinearBackwardParams<float>& p, const DeviceGemm& gemm,
                          CUstream_st* stream) {
  DeviceGemm::Params call{.num_rows = p.num_rows,
                          .out_features = p.out_features,
                          .in_features = p.in_features,
                          .dtype = p.weight_dtype,
                          .in = nullptr,
                          .weight = p.weight,
                          .in_stride = 0,
                          .weight_stride = 0,
                          .bias = nullptr,
                          .out = p.dx,
                          .out_stride = p.dx_stride,
                          .accumulate = p.accumulate,
                          .adjoint = true,
                          .workspace = p.workspace};
  take_input(call, p.dy, p.dy_stride, p.out_features, stream);
  gemm.multiply(call, stream);
}

}  // namespace lychee::linear::cuda
