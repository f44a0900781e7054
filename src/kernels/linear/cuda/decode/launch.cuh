#pragma once

#include "base/check.h"
#include "kernels/linear/cuda/decode/kernel.cuh"
#include "kernels/linear/cuda/decode/launch.h"
#include "tensor/cuda/check.h"

namespace lychee::linear::cuda {

template <typename Traits>
void launch_decode_kernel(const DecodeLaunch& launch, cudaStream_t stream) {
  constexpr int kBatchInputs = kDecodeWarps * Traits::Format::kBatch * Traits::Format::kStepK;
  static_assert(kInputsPerRound % kBatchInputs == 0);
  const int batches = (launch.in_features + kBatchInputs - 1) / kBatchInputs;
  const int lanes = kDecodeWarps / launch.num_slices;
  const int float_rows =
      launch.x == nullptr ? 0 : launch.num_rows + (launch.norm_weight == nullptr ? 0 : 1);
  const int bytes = decode_shared_bytes<Traits>(batches * lanes * Traits::kRunsPerBatch,
                                                launch.num_rows, float_rows);
  auto* kernel = &linear_decode_kernel<Traits>;
  if (bytes > 40 * 1024) {  // near the default limit of 48 KB, static memory included
    cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  }
  const dim3 grid(static_cast<unsigned>(launch.num_columns),
                  static_cast<unsigned>(launch.num_slices));
  launch_dependent(kernel, grid, dim3(kDecodeThreads), static_cast<size_t>(bytes), stream, launch);
}

template <typename Format>
void launch_decode(const DecodeLaunch& launch, cudaStream_t stream) {
  if (launch.num_rows <= 8) {
    launch_decode_kernel<DecodeTraits<Format, 1>>(launch, stream);
  } else {
    launch_decode_kernel<DecodeTraits<Format, 2>>(launch, stream);
  }
}

}  // namespace lychee::linear::cuda
