// Compiled in place of the other files in this folder when the build has no CUDA compiler.
#include "base/check.h"
#include "kernels/noise/fill_kv.h"

namespace lychee::noise::cuda {

void fill_kv(const FillKvParams& /*params*/, CUstream_st* /*stream*/) {
  fail(ErrorCode::kUnsupported, "this build has no CUDA support");
}

}  // namespace lychee::noise::cuda
