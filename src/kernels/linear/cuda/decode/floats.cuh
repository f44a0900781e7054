#pragma once

#include "kernels/cuda/matrix.cuh"
#include "kernels/linear/cuda/decode/traits.cuh"

namespace lychee::linear::cuda {

// The products of a warp's tiles for formats of floats, in bf16.
template <typename Traits>
class FloatProducts {
 public:
  using Format = typename Traits::Format;
  using Tile = typename Format::Tile;
  static constexpr bool kCanHold = false;

  __device__ FloatProducts(const Staged<Traits>& staged, int /*runs*/, int num_rows, int lane)
      : run_bytes_(num_rows * 64) {
#pragma unroll
    for (int column = 0; column < Traits::kColumnTiles; ++column) {
      // Columns beyond the last row repeat it; nobody looks at what they give.
      const int row = min(column * 8 + lane / 4, num_rows - 1);
      x_[column] = SharedPlace(staged.values + row * 64 + lane % 4 * 16);
    }
  }

  // Adds those of a batch of tiles, whose first run is `run` of the block. Two sums by turns, since
  // an instruction waits for the one before it that adds to the same.
  __device__ void add(const Tile (&lows)[Format::kBatch], const Tile (&highs)[Format::kBatch],
                      int run) {
    int place = run * run_bytes_;
#pragma unroll
    for (int i = 0; i < Traits::kRunsPerBatch; ++i) {
      const Tile& low = lows[i / Traits::kRunsPerTile];
      const Tile& high = highs[i / Traits::kRunsPerTile];
      uint4 x[Traits::kColumnTiles];
#pragma unroll
      for (int column = 0; column < Traits::kColumnTiles; ++column) {
        x[column] = x_[column].template take<uint4>(place);
      }
      place += run_bytes_;
      uint32_t of_low[Format::kParts][4];
      uint32_t of_high[Format::kParts][4];
      Format::weights(low, i % Traits::kRunsPerTile, of_low);
      Format::weights(high, i % Traits::kRunsPerTile, of_high);
#pragma unroll
      for (int part = 0; part < Format::kParts; ++part) {
        const uint32_t first[4] = {of_low[part][0], of_high[part][0], of_low[part][1],
                                   of_high[part][1]};
        const uint32_t second[4] = {of_low[part][2], of_high[part][2], of_low[part][3],
                                    of_high[part][3]};
#pragma unroll
        for (int column = 0; column < Traits::kColumnTiles; ++column) {
          multiply_add<__nv_bfloat16>(acc_[0][column], first, x[column].x, x[column].y);
          multiply_add<__nv_bfloat16>(acc_[1][column], second, x[column].z, x[column].w);
        }
      }
    }
  }

  // Leaves fragment `lane` of each column tile, times its rows' scales, for finish_tiles(), and
  // begins anew.
  __device__ void leave(float low_scale, float high_scale, float* results, int lane) {
#pragma unroll
    for (int column = 0; column < Traits::kColumnTiles; ++column) {
      auto& c = acc_[0][column];
      auto& d = acc_[1][column];
      *reinterpret_cast<float4*>(results + column * kFragment + lane * 4) = {
          low_scale * (c[0] + d[0]), low_scale * (c[1] + d[1]), high_scale * (c[2] + d[2]),
          high_scale * (c[3] + d[3])};
      c[0] = c[1] = c[2] = c[3] = 0;
      d[0] = d[1] = d[2] = d[3] = 0;
    }
  }

 private:
  SharedPlace x_[Traits::kColumnTiles];  // of run 0
  int run_bytes_;
  float acc_[2][Traits::kColumnTiles][4] = {};
};

}  // namespace lychee::linear::cuda
