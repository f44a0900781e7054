#pragma once

#include "kernels/attention/cuda/hybrid_decode/kernel.cuh"
#include "kernels/attention/cuda/hybrid_decode/launch.h"
#include "kernels/cuda/dependent_launch.cuh"
#include "tensor/cuda/check.h"

namespace lychee::attention::cuda {

template <typename Traits>
void launch_hybrid_decode(const HybridDecodeParams& params, const DecodeWorkspace& workspace,
                          int num_blocks, cudaStream_t stream) {
  constexpr size_t kSharedBytes = sizeof(typename Traits::SharedStorage);
  auto* kernel = &hybrid_decode_kernel<Traits>;
  cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(kSharedBytes)));
  launch_dependent(kernel, dim3(static_cast<unsigned>(num_blocks)), dim3(Traits::kNumThreads),
                   kSharedBytes, stream, params, workspace);
}

}  // namespace lychee::attention::cuda
