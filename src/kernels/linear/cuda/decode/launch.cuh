#pragma once

#include <algorithm>

#include "base/check.h"
#include "base/math.h"
#include "kernels/cuda/tensor_map.h"
#include "kernels/linear/cuda/decode/kernel.cuh"
#include "kernels/linear/cuda/decode/launch.h"
#include "tensor/cuda/check.h"
#include "tensor/cuda/probe.h"

namespace lychee::linear::cuda {

template <typename Traits>
typename Traits::Maps maps_of([[maybe_unused]] const DecodeLaunch& p) {
  typename Traits::Maps maps{};
  if constexpr (Traits::Format::kRowMajor) {
    // Rows in lines of 64 elements: [lines, rows, 64], of which a lane of the sum takes one at a
    // time of eight rows.
    constexpr uint64_t kLine = 64;
    const auto row_bytes = static_cast<uint64_t>(p.band_bytes / kBandRows);
    for (int i = 0; i < p.num_targets && kernel_architecture() >= 90; ++i) {
      const DecodeTarget& target = p.targets[i];
      maps.of[i] = tensor_map_3d(
          target.weight,
          {kLine, static_cast<uint64_t>(target.num_bands) * kBandRows, row_bytes / (2 * kLine)},
          {row_bytes, 2 * kLine}, {kLine, kBandRows, static_cast<uint32_t>(p.num_lanes)});
    }
  }
  return maps;
}

template <typename Traits>
void launch_decode_kernel(const DecodeLaunch& launch, cudaStream_t stream) {
  constexpr int kBatchInputs = kDecodeWarps * Traits::Format::kBatch * Traits::Format::kStepK;
  static_assert(kInputsPerRound % kBatchInputs == 0);
  DecodeLaunch p = launch;
  p.num_lanes = kDecodeWarps / p.num_slices;
  p.num_steps = ceil_div(p.in_features, Traits::Format::kStepK);
  p.num_batches = ceil_div(p.in_features, kBatchInputs);
  const int float_rows = p.x == nullptr ? 0 : p.num_rows + (p.norm_weight == nullptr ? 0 : 1);
  const int staged_bytes = staged_shared_bytes<Traits>(
      p.num_batches * p.num_lanes * Traits::kRunsPerBatch, p.num_rows, float_rows);
  p.stage_bytes = StageShape<typename Traits::Format>(p.num_slices).bytes;
  p.num_stages =
      std::min((p.shared_bytes - kRingAlignment - staged_bytes) / p.stage_bytes, kMaxStages);
  require(p.num_stages > 0, ErrorCode::kInternal, "linear: no room for a stage of ", p.stage_bytes,
          " bytes beside ", staged_bytes);
  const int bytes = kRingAlignment + p.num_stages * p.stage_bytes + staged_bytes;
  auto* kernel = &linear_decode_kernel<Traits>;
  cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  const dim3 grid(static_cast<unsigned>(p.num_columns), static_cast<unsigned>(p.num_slices));
  launch_dependent(kernel, grid, dim3(kDecodeBlockThreads), static_cast<size_t>(bytes), stream, p,
                   maps_of<Traits>(p));
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
