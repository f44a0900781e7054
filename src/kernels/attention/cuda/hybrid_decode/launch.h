#pragma once

#include <cuda_runtime_api.h>

#include "kernels/attention/cuda/hybrid_decode/workspace.h"
#include "kernels/attention/params.h"

namespace lychee::attention::cuda {

// Defined in launch.cuh, compiled once per instantiations/*.cu.
template <typename Traits>
void launch_hybrid_decode(const HybridDecodeParams& params, const DecodeWorkspace& workspace,
                          int num_blocks, cudaStream_t stream);

// Any head_dim and group size, f32 arithmetic without tensor cores: plain.cu.
void launch_plain_decode(const HybridDecodeParams& params, const DecodeWorkspace& workspace,
                         cudaStream_t stream);

}  // namespace lychee::attention::cuda
