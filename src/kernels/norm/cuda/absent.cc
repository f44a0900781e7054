// Compiled in place of the other files in this folder when the build has no CUDA compiler.
#include "base/check.h"
#include "kernels/norm/rms_norm.h"

namespace lychee::norm::cuda {

void rms_norm(const RmsNormParams& /*params*/, CUstream_st* /*stream*/) {
  fail(ErrorCode::kUnsupported, "rms_norm: this build has no CUDA support");
}

}  // namespace lychee::norm::cuda
