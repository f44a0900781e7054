#pragma once

#include <cstdint>

struct CUstream_st;

namespace lychee::norm {

// y[r] = x[r] / sqrt(mean(x[r]²) + eps) · weight. y may be x.
template <typename Real>
struct RmsNormParamsOf {
  int64_t num_rows;
  int64_t dim;
  const Real* x;        // [num_rows, dim], row stride x_stride
  int64_t x_stride;     // elements
  const float* weight;  // [dim]
  float eps;
  Real* y;           // [num_rows, dim], row stride y_stride
  int64_t y_stride;  // elements
};
using RmsNormParams = RmsNormParamsOf<float>;

namespace reference {
void rms_norm(const RmsNormParams& params);
// For gradient checks: stored in double too.
void rms_norm(const RmsNormParamsOf<double>& params);
}  // namespace reference
namespace cpu {
void rms_norm(const RmsNormParams& params);
}

namespace cuda {
// Pointers are device memory. Enqueues on `stream`.
void rms_norm(const RmsNormParams& params, CUstream_st* stream);
}  // namespace cuda

}  // namespace lychee::norm
