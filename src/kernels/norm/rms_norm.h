#pragma once

#include <cstdint>

#include "tensor/dtype.h"

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

// The same with a rounded result, for a product that takes its activations in bf16.
struct RoundedRmsNormParams {
  int64_t num_rows;
  int64_t dim;          // a multiple of 8
  const float* x;       // [num_rows, dim], row stride x_stride; aligned to 16 bytes
  int64_t x_stride;     // elements, a multiple of 4
  const float* weight;  // [dim], aligned to 16 bytes
  float eps;
  bf16* y;           // [num_rows, dim], row stride y_stride; aligned to 16 bytes
  int64_t y_stride;  // elements, a multiple of 8
};

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
void rms_norm(const RoundedRmsNormParams& params, CUstream_st* stream);
}  // namespace cuda

}  // namespace lychee::norm
