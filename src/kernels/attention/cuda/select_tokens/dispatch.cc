#include <cuda_runtime_api.h>

#include "kernels/attention/cuda/select_tokens/launch.h"
#include "kernels/attention/select_tokens.h"
#include "tensor/cuda/check.h"

namespace lychee::attention::cuda {

int64_t select_tokens_workspace_bytes(const SelectTokensParams& /*params*/) {
  return 0;  // a cluster's shared memory is enough
}

void select_units(const SelectTokensParams& params, const SelectUnits& units, cudaStream_t stream) {
  int device = 0;
  int major = 0;
  cuda_check(cudaGetDevice(&device));
  cuda_check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  if (major >= 9) {
    launch_select_tokens<8>(params, units, stream);
  } else {
    launch_select_tokens<1>(params, units, stream);
  }
}

void select_tokens(const SelectTokensParams& params, cudaStream_t stream) {
  select_units(params, {}, stream);
}

}  // namespace lychee::attention::cuda
