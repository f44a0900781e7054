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
    if (kernel_architecture() < 90) {
      return maps;
    }
    // Rows in lines of 64 elements: [lines, rows, 64], of which a lane of the sum takes one at a
    // time of eight rows.
    constexpr uint64_t kLine = 64;
    constexpr uint64_t kLineBytes = kLine * sizeof(bf16);
    const auto row_bytes = static_cast<uint64_t>(p.band_bytes / kBandRows);
    for (int i = 0; i < p.num_targets; ++i) {
      const DecodeTarget& target = p.targets[i];
      maps.of[i] = tensor_map_3d(
          target.weight,
          {kLine, static_cast<uint64_t>(target.num_bands) * kBandRows, row_bytes / kLineBytes},
          {row_bytes, kLineBytes}, {kLine, kBandRows, static_cast<uint32_t>(p.num_lanes)});
    }
  }
  return maps;
}

template <typename Traits>
constexpr int kBatchInputs = kDecodeWarps* Traits::Format::kBatch* Traits::Format::kStepK;

template <typename Traits>
int staged_bytes(int in_features, int num_rows, int float_rows, int num_slices) {
  const int runs = ceil_div(in_features, kBatchInputs<Traits>) * (kDecodeWarps / num_slices) *
                   Traits::kRunsPerBatch;
  return Staged<Traits>::bytes(runs, num_rows) +
         std::max(runs * float_rows * 128, Traits::kSumBytes);
}

template <typename Traits>
void launch_decode_kernel(const DecodeLaunch& launch, cudaStream_t stream) {
  DecodeLaunch p = launch;
  p.num_lanes = kDecodeWarps / p.num_slices;
  p.num_steps = ceil_div(p.in_features, Traits::Format::kStepK);
  p.num_batches = ceil_div(p.in_features, kBatchInputs<Traits>);
  const int float_rows = p.x == nullptr ? 0 : p.num_rows + (p.norm_weight == nullptr ? 0 : 1);
  const int staged = staged_bytes<Traits>(p.in_features, p.num_rows, float_rows, p.num_slices);
  p.stage_bytes = StageShape<typename Traits::Format>(p.num_lanes, p.num_slices).bytes;
  p.num_stages = std::min((p.shared_bytes - kRingAlignment - staged) / p.stage_bytes, kMaxStages);
  require(p.num_stages > 0, ErrorCode::kInternal, "linear: no room for a stage of ", p.stage_bytes,
          " bytes beside ", staged);
  const int bytes = kRingAlignment + p.num_stages * p.stage_bytes + staged;
  auto* kernel = &linear_decode_kernel<Traits>;
  cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  const dim3 grid(static_cast<unsigned>(p.num_columns), static_cast<unsigned>(p.num_slices));
  launch_dependent(kernel, grid, dim3(kDecodeBlockThreads), static_cast<size_t>(bytes), stream, p,
                   maps_of<Traits>(p));
}

// Calls fn.operator()<Traits>() for the kernel that takes so many rows.
template <typename Format, typename Fn>
auto with_traits(int num_rows, const Fn& fn) {
  if (Format::kIntegers && num_rows <= 4) {
    return fn.template operator()<DecodeTraits<Format, Format::kIntegers ? 4 : 8>>();
  }
  if (num_rows <= 8) {
    return fn.template operator()<DecodeTraits<Format, 8>>();
  }
  return fn.template operator()<DecodeTraits<Format, 16>>();
}

template <typename Format>
DecodeMemory decode_memory(int in_features, int num_rows, int float_rows, int num_slices) {
  constexpr int kStages = 3;  // one is multiplied while two are under way
  return {
      with_traits<Format>(num_rows,
                          [&]<typename Traits>() {
                            return staged_bytes<Traits>(in_features, num_rows, float_rows,
                                                        num_slices);
                          }),
      kRingAlignment + kStages * StageShape<Format>(kDecodeWarps / num_slices, num_slices).bytes};
}

template <typename Format>
void launch_decode(const DecodeLaunch& launch, cudaStream_t stream) {
  with_traits<Format>(launch.num_rows,
                      [&]<typename Traits>() { launch_decode_kernel<Traits>(launch, stream); });
}

}  // namespace lychee::linear::cuda
