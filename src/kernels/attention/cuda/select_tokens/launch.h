#pragma once

#include <cuda_runtime_api.h>

#include "kernels/attention/cuda/select_tokens/select.h"
#include "kernels/attention/params.h"

namespace lychee::attention::cuda {

// Defined in select_tokens.cu for the cluster sizes that dispatch.cc lists.
template <int kCluster>
void launch_select_tokens(const SelectTokensParams& params, const SelectUnits& units,
                          cudaStream_t stream);

}  // namespace lychee::attention::cuda
