// Compiled in place of the other files in this folder when the build has no CUDA compiler.
#include "base/check.h"
#include "kernels/norm/rms_norm.h"
#include "kernels/norm/rms_norm_backward.h"

namespace lychee::norm::cuda {

void rms_norm(const RmsNormParams& /*params*/, CUstream_st* /*stream*/) {
  fail(ErrorCode::kUnsupported, "rms_norm: this build has no CUDA support");
}
void rms_norm_backward(const RmsNormBackwardParams<float>& /*params*/, CUstream_st* /*stream*/) {
  fail(ErrorCode::kUnsupported, "rms_norm_backward: this build has no CUDA support");
}
void rms_norm(const RoundedRmsNormParams& /*params*/, CUstream_st* /*stream*/) {
  fail(ErrorCode::kUnsupported, "rms_norm: this build has no CUDA support");
}

}  // namespace lychee::norm::cuda
