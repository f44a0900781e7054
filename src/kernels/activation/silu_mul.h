#pragma once

#include <cstdint>

#include "tensor/dtype.h"

struct CUstream_st;

namespace lychee::activation {

// y[r, i] = silu(gate[r, i]) · up[r, i], the inside of SwiGLU. y may be gate or up.
template <typename Real>
struct SiluMulParamsOf {
  int64_t num_rows;
  int64_t dim;
  const Real* gate;     // [num_rows, dim], row stride gate_stride
  const Real* up;       // [num_rows, dim], row stride up_stride
  int64_t gate_stride;  // elements
  int64_t up_stride;
  Real* y;  // [num_rows, dim], row stride y_stride
  int64_t y_stride;
};
using SiluMulParams = SiluMulParamsOf<float>;

namespace reference {
void silu_mul(const SiluMulParams& params);
// For gradient checks: stored in double too.
void silu_mul(const SiluMulParamsOf<double>& params);
}  // namespace reference
namespace cpu {
void silu_mul(const SiluMulParams& params);
}

namespace cuda {
// Pointers are device memory. Enqueues on `stream`.
void silu_mul(const SiluMulParams& params, CUstream_st* stream);
// Computed in f32 and rounded. `dim` and the strides are multiples of 8, the pointers aligned to 16
// bytes.
void silu_mul(const SiluMulParamsOf<bf16>& params, CUstream_st* stream);
}  // namespace cuda

}  // namespace lychee::activation
