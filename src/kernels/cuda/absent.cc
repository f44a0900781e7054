// Compiled in place of the other files in this folder when the build has no CUDA compiler.
#include "base/check.h"
#include "kernels/device_stream.h"

namespace lychee::cuda {

void read_stream(const std::byte* /*data*/, int64_t /*bytes*/, uint32_t* /*sum*/,
                 CUstream_st* /*stream*/) {
  fail(ErrorCode::kUnsupported, "read_stream: this build has no CUDA support");
}

}  // namespace lychee::cuda
