// Compiled in place of the other files in this folder when the build has no CUDA compiler.
#include "base/check.h"
#include "kernels/sampling/sample.h"

namespace lychee::sampling::cuda {

int64_t argmax_workspace_bytes(int64_t /*num_rows*/) {
  fail(ErrorCode::kUnsupported, "argmax: this build has no CUDA support");
}
void argmax(const ArgmaxParams& /*params*/, CUstream_st* /*stream*/) {
  fail(ErrorCode::kUnsupported, "argmax: this build has no CUDA support");
}

void draw(const DrawParams& /*params*/, CUstream_st* /*stream*/) {
  fail(ErrorCode::kUnsupported, "draw: this build has no CUDA support");
}

}  // namespace lychee::sampling::cuda
