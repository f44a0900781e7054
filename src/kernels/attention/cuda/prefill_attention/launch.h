#pragma once

#include <cuda_runtime_api.h>

#include "kernels/attention/params.h"

namespace lychee::attention::cuda {

// Defined in launch.cuh, compiled once per instantiations/*.cu.
template <typename Traits>
void launch_prefill_attention(const PrefillAttentionParams& params, cudaStream_t stream);

// Any head_dim and group size, f32 arithmetic without tensor cores: plain.cu.
void launch_plain_prefill(const PrefillAttentionParams& params, cudaStream_t stream);

}  // namespace lychee::attention::cuda
