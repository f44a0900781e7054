#pragma once

#include <cstdint>

struct CUstream_st;

namespace lychee::activation {

// The adjoint of silu_mul. All matrices are [num_rows, dim] with row stride `stride`; d_gate and
// d_up are overwritten, and may be any of the inputs.
template <typename Real>
struct SiluMulBackwardParams {
  int64_t num_rows;
  int64_t dim;
  int64_t stride;  // elements
  const Real* gate;
  const Real* up;
  const Real* dy;
  Real* d_gate;
  Real* d_up;
};

namespace reference {
void silu_mul_backward(const SiluMulBackwardParams<double>& params);
}
namespace cpu {
void silu_mul_backward(const SiluMulBackwardParams<float>& params);
}

namespace cuda {
// Pointers are device memory. Enqueues on `stream`.
void silu_mul_backward(const SiluMulBackwardParams<float>& params, CUstream_st* stream);
}  // namespace cuda

}  // namespace lychee::activation
