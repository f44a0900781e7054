#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace lychee::linear {

// The adjoint of `linear` for frozen weights: dx[r, i] (+)= sum_o dy[r, o] · W[o, i].
template <typename Real>
struct LinearBackwardParams {
  int64_t num_rows;
  int64_t in_features;  // a multiple of the weight's block size
  int64_t out_features;
  const Real* dy;     // [num_rows, out_features], row stride dy_stride
  int64_t dy_stride;  // elements
  DType weight_dtype;
  const std::byte* weight;  // [out_features, in_features] row-major in blocks; may be unaligned
  Real* dx;                 // [num_rows, in_features], row stride dx_stride
  int64_t dx_stride;        // elements
  bool accumulate;          // adds to dx instead of overwriting it
  void* workspace;          // linear_backward_workspace_bytes(params), aligned to 64 bytes
};

namespace reference {
// Weights at their file's value; ignores the workspace.
void linear_backward(const LinearBackwardParams<double>& params);
}  // namespace reference

namespace cpu {
[[nodiscard]] int64_t linear_backward_workspace_bytes(const LinearBackwardParams<float>& params);
// Widens weights to f32 a panel of outputs at a time and multiplies in f32.
void linear_backward(const LinearBackwardParams<float>& params);
}  // namespace cpu

}  // namespace lychee::linear
