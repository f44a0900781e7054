// Compiled in place of the other files in this folder when the build has no CUDA compiler or finds
// no headers of cuDNN.
#include "base/check.h"
#include "kernels/attention/fused_attention.h"

namespace lychee::attention {

class FusedAttention::Impl {};

FusedAttention::FusedAttention(const Shape& /*shape*/) {
  fail(ErrorCode::kUnsupported, "this build has no cuDNN");
}

FusedAttention::~FusedAttention() = default;

int64_t FusedAttention::workspace_bytes() {
  fail(ErrorCode::kInternal, "fused attention: this build has no cuDNN");
}

void FusedAttention::attend(const Params& /*params*/, CUstream_st* /*stream*/) {
  fail(ErrorCode::kInternal, "fused attention: this build has no cuDNN");
}

}  // namespace lychee::attention
