// Compiled in place of the other files in this folder when the build has no CUDA compiler.
#include "base/check.h"
#include "kernels/linear/device_linear.h"

namespace lychee::linear {
namespace {

[[noreturn]] void refuse() {
  fail(ErrorCode::kUnsupported, "linear: this build has no CUDA support");
}

}  // namespace

struct DeviceGemm::Library {};

DeviceGemm::DeviceGemm() {
  refuse();
}
DeviceGemm::~DeviceGemm() = default;
void DeviceGemm::multiply(const Params& /*params*/, CUstream_st* /*stream*/) const {
  refuse();
}

namespace cuda {

int64_t linear_workspace_bytes(const DeviceLinearParams& /*params*/) {
  refuse();
}
void linear(const DeviceLinearParams& /*params*/, CUstream_st* /*stream*/) {
  refuse();
}
void embedding(const EmbeddingParams& /*params*/, CUstream_st* /*stream*/) {
  refuse();
}

}  // namespace cuda

}  // namespace lychee::linear
