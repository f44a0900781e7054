#pragma once

#include "base/math.h"
#include "kernels/attention/cuda/prefill_attention/kernel.cuh"
#include "kernels/attention/cuda/prefill_attention/launch.h"
#include "tensor/cuda/check.h"

namespace lychee::attention::cuda {

template <typename Traits>
void launch_prefill_attention(const PrefillAttentionParams& params, cudaStream_t stream) {
  constexpr size_t kSharedBytes = sizeof(typename Traits::SharedStorage);
  auto* kernel = &prefill_attention_kernel<Traits>;
  cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(kSharedBytes)));
  const dim3 grid(static_cast<unsigned>(ceil_div(params.num_tokens, Traits::kQueryRows)),
                  static_cast<unsigned>(params.num_q_heads));
  kernel<<<grid, Traits::kNumThreads, kSharedBytes, stream>>>(params);
  cuda_check(cudaGetLastError());
}

}  // namespace lychee::attention::cuda
