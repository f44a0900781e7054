#pragma once

#include "base/math.h"
#include "kernels/linear/cuda/decode/kernel.cuh"
#include "kernels/linear/cuda/decode/launch.h"
#include "tensor/cuda/check.h"

namespace lychee::linear::cuda {

template <typename Traits>
void launch_decode_kernel(const DecodeLaunch& launch, cudaStream_t stream) {
  constexpr int kBatchInputs = kDecodeWarps * Traits::Format::kBatch * Traits::Format::kStepK;
  static_assert(kInputsPerRound % kBatchInputs == 0);
  DecodeLaunch p = launch;
  p.tile_step_bytes = int64_t{p.num_columns} * p.num_slices * (p.swiglu ? 1 : 2) * p.band_bytes;
  p.num_lanes = kDecodeWarps / p.num_slices;
  p.num_steps = ceil_div(p.in_features, Traits::Format::kStepK);
  p.num_batches = ceil_div(p.in_features, kBatchInputs);
  const int float_rows = p.x == nullptr ? 0 : p.num_rows + (p.norm_weight == nullptr ? 0 : 1);
  const int bytes = decode_shared_bytes<Traits>(p.num_batches * p.num_lanes * Traits::kRunsPerBatch,
                                                p.num_rows, float_rows);
  auto* kernel = &linear_decode_kernel<Traits>;
  if (bytes > 40 * 1024) {  // near the default limit of 48 KB, static memory included
    cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  }
  const dim3 grid(static_cast<unsigned>(p.num_columns), static_cast<unsigned>(p.num_slices));
  launch_dependent(kernel, grid, dim3(Traits::kBlockThreads), static_cast<size_t>(bytes), stream,
                   p);
}

template <typename Format>
void launch_decode(const DecodeLaunch& launch, cudaStream_t stream) {
  if (Format::kIntegers && launch.num_rows <= 4) {
    launch_decode_kernel<DecodeTraits<Format, Format::kIntegers ? 4 : 8>>(launch, stream);
  } else if (launch.num_rows <= 8) {
    launch_decode_kernel<DecodeTraits<Format, 8>>(launch, stream);
  } else {
    launch_decode_kernel<DecodeTraits<Format, 16>>(launch, stream);
  }
}

}  // namespace lychee::linear::cuda
