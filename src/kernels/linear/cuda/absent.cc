// Compiled in place of the other files in this folder when the build has no CUDA compiler.
#include "base/check.h"
#include "kernels/linear/device_linear.h"
#include "kernels/linear/gemm_linear.h"

namespace lychee::linear {
namespace {

constexpr const char* kMissing = "this build has no CUDA support";

[[noreturn]] void refuse() {
  fail(ErrorCode::kUnsupported, "linear: ", kMissing);
}

}  // namespace

std::string missing_gemm_library() {
  return kMissing;
}

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
int64_t prompt_linear_workspace_bytes(const PromptLinearParams& /*params*/) {
  refuse();
}
void prompt_linear(const PromptLinearParams& /*params*/, CUstream_st* /*stream*/) {
  refuse();
}
void embedding(const EmbeddingParams& /*params*/, CUstream_st* /*stream*/) {
  refuse();
}
int64_t gemm_linear_workspace_bytes(const LinearParams& /*params*/) {
  refuse();
}
void gemm_linear(const LinearParams& /*params*/, const DeviceGemm& /*gemm*/,
                 CUstream_st* /*stream*/) {
  refuse();
}
int64_t gemm_linear_backward_workspace_bytes(const LinearBackwardParams<float>& /*params*/) {
  refuse();
}
void gemm_linear_backward(const LinearBackwardParams<float>& /*params*/, const DeviceGemm& /*gemm*/,
                          CUstream_st* /*stream*/) {
  refuse();
}

}  // namespace cuda

}  // namespace lychee::linear
