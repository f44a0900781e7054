// Compiled in place of the other files in this folder when the build has no CUDA compiler.
#include "base/check.h"
#include "kernels/loss/logit_loss.h"

namespace lychee::loss::cuda {

void kl_divergence(const LogitLossParams<float>& /*params*/, CUstream_st* /*stream*/) {
  fail(ErrorCode::kUnsupported, "kl_divergence: this build has no CUDA support");
}
void mean_square(const LogitLossParams<float>& /*params*/, CUstream_st* /*stream*/) {
  fail(ErrorCode::kUnsupported, "mean_square: this build has no CUDA support");
}

}  // namespace lychee::loss::cuda
