// Compiled in place of the other files in this folder when the build has no CUDA compiler.
#include "base/check.h"
#include "kernels/rope/rope.h"

namespace lychee::rope::cuda {

void make_rope_table(const RopeTableParams& /*params*/, CUstream_st* /*stream*/) {
  fail(ErrorCode::kUnsupported, "make_rope_table: this build has no CUDA support");
}
void apply_rope_table(const RopeApplyParams& /*params*/, CUstream_st* /*stream*/) {
  fail(ErrorCode::kUnsupported, "apply_rope_table: this build has no CUDA support");
}

}  // namespace lychee::rope::cuda
