// Compiled in place of the other files in this folder when the build has no CUDA compiler.
#include "base/check.h"
#include "kernels/activation/silu_mul.h"

namespace lychee::activation::cuda {

void silu_mul(const SiluMulParams& /*params*/, CUstream_st* /*stream*/) {
  fail(ErrorCode::kUnsupported, "silu_mul: this build has no CUDA support");
}

}  // namespace lychee::activation::cuda
