#include <cuda_runtime_api.h>

#include "kernels/attention/cuda/select_tokens/launch.h"
#include "kernels/attention/select_tokens.h"
#include "tensor/cuda/probe.h"

namespace lychee::attention::cuda {
namespace {

// From so many rows on, as head training has them, a block each keeps all of a GPU busy, and a
// cluster's barriers would only take time.
constexpr int kManyRows = 128;

}  // namespace

int64_t select_tokens_workspace_bytes(const SelectTokensParams& /*params*/) {
  return 0;  // a cluster's shared memory is enough
}

void select_units(const SelectTokensParams& params, const SelectUnits& units, cudaStream_t stream) {
  if (kernel_architecture() >= 90 && params.num_rows < kManyRows) {  // clusters
    launch_select_tokens<8>(params, units, stream);
  } else {
    launch_select_tokens<1>(params, units, stream);
  }
}

void select_tokens(const SelectTokensParams& params, cudaStream_t stream) {
  select_units(params, {}, stream);
}

}  // namespace lychee::attention::cuda
