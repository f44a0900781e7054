// Compiled in place of the other files in this folder when the build has no CUDA compiler.
#include "base/check.h"
#include "kernels/rows/rows.h"

namespace lychee::rows::cuda {
namespace {

[[noreturn]] void refuse() {
  fail(ErrorCode::kUnsupported, "rows: this build has no CUDA support");
}

}  // namespace

void gather(const PickParams<float>& /*params*/, CUstream_st* /*stream*/) {
  refuse();
}
void scatter(const PickParams<float>& /*params*/, CUstream_st* /*stream*/) {
  refuse();
}
void append(const AppendParams<float>& /*params*/, CUstream_st* /*stream*/) {
  refuse();
}

}  // namespace lychee::rows::cuda
