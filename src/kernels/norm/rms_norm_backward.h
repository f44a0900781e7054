#pragma once

#include <cstdint>

struct CUstream_st;

namespace lychee::norm {

// The adjoint of rms_norm for a frozen weight: dx (+)= dy · d rms_norm(x) / dx. dx may be dy.
template <typename Real>
struct RmsNormBackwardParams {
  int64_t num_rows;
  int64_t dim;
  const Real* x;        // [num_rows, dim], row stride x_stride: what was normalised
  int64_t x_stride;     // elements
  const float* weight;  // [dim]
  float eps;
  const Real* dy;     // [num_rows, dim], row stride dy_stride
  int64_t dy_stride;  // elements
  Real* dx;           // [num_rows, dim], row stride dx_stride
  int64_t dx_stride;  // elements
  bool accumulate;    // adds to dx (the residual's gradient) instead of overwriting it
};

namespace reference {
void rms_norm_backward(const RmsNormBackwardParams<double>& params);
}
namespace cpu {
void rms_norm_backward(const RmsNormBackwardParams<float>& params);
}

namespace cuda {
// Pointers are device memory. Enqueues on `stream`.
void rms_norm_backward(const RmsNormBackwardParams<float>& params, CUstream_st* stream);
}  // namespace cuda

}  // namespace lychee::norm
