#pragma once

#include <algorithm>

#include "base/math.h"
#include "kernels/attention/cuda/select_tokens/kernel.cuh"
#include "kernels/attention/cuda/select_tokens/launch.h"
#include "kernels/cuda/dependent_launch.cuh"
#include "tensor/cuda/check.h"
#include "tensor/cuda/device_attribute.h"

namespace lychee::attention::cuda {

template <int kCluster>
void launch_select_tokens(const SelectTokensParams& params, const SelectUnits& units,
                          cudaStream_t stream) {
  auto* kernel = &select_tokens_kernel<kCluster>;
  const int shared_bytes = device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  const int64_t candidates = params.selection.mode == SelectMode::kBlock && !units.scored
                                 ? ceil_div<int64_t>(params.scores_stride, units.size)
                                 : params.scores_stride;
  constexpr auto kFixedBytes = static_cast<int64_t>(sizeof(SelectStorage));
  constexpr auto kValueBytes = static_cast<int64_t>(sizeof(float));
  const int64_t max_cached = std::min(round_up(ceil_div<int64_t>(candidates, kCluster), int64_t{4}),
                                      (shared_bytes - kFixedBytes) / kValueBytes);
  const auto bytes = static_cast<size_t>(kFixedBytes + max_cached * kValueBytes);
  cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(bytes)));
  cudaLaunchAttribute attribute = cluster_attribute(kCluster);
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(params.num_rows) * kCluster);
  config.blockDim = dim3(kSelectThreads);
  config.dynamicSmemBytes = bytes;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = kCluster > 1 ? 1 : 0;
  cuda_check(cudaLaunchKernelEx(&config, kernel, params, units, static_cast<int>(max_cached)));
}

}  // namespace lychee::attention::cuda
