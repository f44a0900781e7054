#pragma once

#include "kernels/activation/cuda/silu.cuh"
#include "kernels/linear/cuda/decode/results.cuh"
#include "kernels/linear/cuda/decode/traits.cuh"

namespace lychee::linear::cuda {

// Which of four lanes has a row of a column tile, and whether as its second.
struct RowPlace {
  int lane, second;
};
template <typename Format>
__device__ RowPlace fragment_of(int row) {
  return Format::kIntegers ? RowPlace{row % 4, row / 4} : RowPlace{row / 2, row % 2};
}

// What one thread of a block without a warp for it makes of the only slice of a tile: one output of
// one row. All other warps wait for it at the next tile, so it is as little as can be.
template <typename Traits>
class TileOutput {
 public:
  __device__ explicit TileOutput(const DecodeLaunch& p)
      : log2_outputs_(p.swiglu ? 3 : 4),
        row_(static_cast<int>(threadIdx.x) >> log2_outputs_),
        place_(static_cast<int>(threadIdx.x) & ((1 << log2_outputs_) - 1)) {
    static_assert(kBandRows == 8);
  }
  // Before the warps' results of a tile are there.
  __device__ void begin(const DecodeLaunch& p, int tile) {
    exists_ = false;
    if (row_ >= p.num_rows) {
      return;
    }
    const DecodeTarget& target = target_of(p, tile);
    const int output = ((tile - target.first_tile) << log2_outputs_) + place_;
    exists_ = output < target.out_features;
    if (!exists_) {
      return;
    }
    y_ = target.y + row_ * target.y_stride + output;
    rounded_ = p.rounded_swiglu + row_ * int64_t{target.out_features} + output;
    residual_ = p.accumulate ? *y_ : 0.0F;
    bias_ = target.bias != nullptr ? target.bias[output] : 0.0F;
  }
  __device__ void finish(const DecodeLaunch& p, const float* results) const {
    if (!exists_) {
      return;
    }
    const float sum = sum_of(results, place_);
    if (!p.swiglu) {
      const float value = sum + bias_;
      *y_ = p.accumulate ? residual_ + value : value;
      return;
    }
    const float product =
        activation::cuda::silu_mul_value(sum, sum_of(results, place_ + kBandRows));
    if (p.rounded_swiglu == nullptr) {
      *y_ = product;
    } else {
      *reinterpret_cast<__nv_bfloat16*>(rounded_) = __float2bfloat16_rn(product);
    }
  }

 private:
  // Over the warps, of an output of the tile's two bands.
  __device__ float sum_of(const float* results, int output) const {
    const auto [lane, second] = fragment_of<typename Traits::Format>(row_ % 8);
    const float* const mine = results + row_ / 8 * kFragment + (output % kBandRows * 4 + lane) * 4 +
                              output / kBandRows * 2 + second;
    float values[kDecodeWarps];
#pragma unroll
    for (int w = 0; w < kDecodeWarps; ++w) {
      values[w] = mine[w * Traits::kTileResults];
    }
    return tree_sum(values);
  }

  int log2_outputs_;  // of a tile
  int row_;
  int place_;
  bool exists_;
  float* y_;
  bf16* rounded_;
  float residual_;
  float bias_;
};

}  // namespace lychee::linear::cuda
