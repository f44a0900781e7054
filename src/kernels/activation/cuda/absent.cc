// Compiled in place of the other files in this folder when the build has no CUDA compiler.
#include "base/check.h"
#include "kernels/activation/silu_mul.h"
#include "kernels/activation/silu_mul_backward.h"

namespace lychee::activation::cuda {

void silu_mul(const SiluMulParams& /*params*/, CUstream_st* /*stream*/) {
  fail(ErrorCode::kUnsupported, "silu_mul: this build has no CUDA support");
}
void silu_mul_backward(const SiluMulBackwardParams<float>& /*params*/, CUstream_st* /*stream*/) {
  fail(ErrorCode::kUnsupported, "silu_mul_backward: this build has no CUDA support");
}
void silu_mul(const SiluMulParamsOf<bf16>& /*params*/, CUstream_st* /*stream*/) {
  fail(ErrorCode::kUnsupported, "silu_mul: this build has no CUDA support");
}

}  // namespace lychee::activation::cuda
