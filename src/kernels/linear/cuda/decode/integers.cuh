#pragma once

#include "kernels/cuda/matrix.cuh"
#include "kernels/linear/cuda/decode/traits.cuh"

namespace lychee::linear::cuda {

// The products of a warp's tiles for formats of integers. Of a matrix instruction's eight columns
// two belong to an activation row, the first to its high bytes and the second to its low ones: so
// lane 4 g + c has both sums of row c and of the outputs g of both bands, and they are exact.
template <typename Traits>
class IntegerProducts {
 public:
  using Format = typename Traits::Format;
  using Tile = typename Format::Tile;
  static constexpr bool kCanHold = Traits::kMaxRows <= 4;

  __device__ IntegerProducts(const Staged<Traits>& staged, int runs, int num_rows, int lane)
      : pair_bytes_(num_rows * 128) {
#pragma unroll
    for (int tile = 0; tile < kRowTiles; ++tile) {
      // Rows beyond the last repeat it; nobody looks at what they give.
      const int column_row = min(4 * tile + lane / 8, num_rows - 1);
      const int row = min(4 * tile + lane % 4, num_rows - 1);
      x_[tile] = SharedPlace(staged.values + column_row * 128 + lane / 4 % 2 * 64 + lane % 4 * 16);
      scales_[tile] = SharedPlace(staged.scales + row * Staged<Traits>::scales_of(runs));
      if constexpr (Format::kZero != 0) {
        offsets_[tile] = SharedPlace(staged.offsets + row * Staged<Traits>::offsets_of(runs));
      }
      if constexpr (Format::kHasMin) {
        sums_[tile] = SharedPlace(staged.sums + row * Staged<Traits>::sums_of(runs));
      }
    }
  }

  // Keeps the inputs of a batch, whose first run is `run` of the block, for add_to_held().
  __device__ void hold(int run) {
#pragma unroll
    for (int later = 0; later < kPairs; ++later) {
      held_[later] = inputs_of(0, run / 2, later);
    }
  }

  // Adds those of a batch of tiles, whose first run is `run` of the block.
  __device__ void add(const Tile (&lows)[Format::kBatch], const Tile (&highs)[Format::kBatch],
                      int run) {
    add_batch(lows, highs, [&](int tile, int later) { return inputs_of(tile, run / 2, later); });
  }
  // The same with the inputs that hold() has kept.
  __device__ void add_to_held(const Tile (&lows)[Format::kBatch],
                              const Tile (&highs)[Format::kBatch]) {
    add_batch(lows, highs, [&](int /*tile*/, int later) { return held_[later]; });
  }
  // Leaves fragment `lane` of each column tile for finish_tiles(), and begins anew.
  // Integers have no scales of rows.
  __device__ void leave(float /*low_scale*/, float /*high_scale*/, float* results, int lane) {
#pragma unroll
    for (int column = 0; column < Traits::kColumnTiles; ++column) {
      float second[2] = {0, 0};
      if constexpr (kRowTiles > 1) {
        second[0] = acc_[2 * column + 1][0];
        second[1] = acc_[2 * column + 1][1];
      }
      *reinterpret_cast<float4*>(results + column * kFragment + lane * 4) = {
          acc_[2 * column][0], second[0], acc_[2 * column][1], second[1]};
    }
#pragma unroll
    for (int tile = 0; tile < kRowTiles; ++tile) {
      acc_[tile][0] = acc_[tile][1] = 0;
    }
  }

 private:
  static constexpr int kRowTiles = Traits::kMaxRows / 4;
  static constexpr int kRuns = Traits::kRunsPerTile;
  static constexpr int kGroups = 64 / Format::kGroup;        // of two runs
  static constexpr int kPairs = Format::kBatch * kRuns / 2;  // of runs in a batch

  struct Scales {
    float scale[Format::kStepK / Format::kGroup];
    float min[4];  // of runs, for formats that have them

    __device__ explicit Scales(const Tile& tile) { Format::scales(tile, scale, min); }
  };

  static __device__ void codes_of(const Tile& low, const Tile& high, int run,
                                  uint32_t (&codes)[4]) {
    uint32_t of_low[2];
    uint32_t of_high[2];
    Format::bytes(low, run, of_low);
    Format::bytes(high, run, of_high);
    codes[0] = of_low[0];
    codes[1] = of_high[0];
    codes[2] = of_low[1];
    codes[3] = of_high[1];
  }

  static __device__ void add_offsets(float& acc, const float* min, const float2& sums) {
    acc = fmaf(min[0], sums.x, acc);
    acc = fmaf(min[1], sums.y, acc);
  }

  // What a lane has of two runs of inputs.
  struct PairInputs {
    uint4 x;
    float scale;
    int offsets[kGroups];
    float2 sums;
  };
  [[nodiscard]] __device__ PairInputs inputs_of(int tile, int first_pair, int later) const {
    PairInputs inputs{};
    inputs.x = x_[tile].template take<uint4>((first_pair + later) * pair_bytes_);
    inputs.scale = scales_[tile].template take<float>(first_pair * 4 + later * 4);
    if constexpr (Format::kZero != 0) {
#pragma unroll
      for (int group = 0; group < kGroups; ++group) {
        inputs.offsets[group] = offsets_[tile].template take<int>(first_pair * kGroups * 4 +
                                                                  (later * kGroups + group) * 4);
      }
    }
    if constexpr (Format::kHasMin) {
      inputs.sums = sums_[tile].template take<float2>(first_pair * 8 + later * 8);
    }
    return inputs;
  }

  // inputs_at(tile, later): of row tile `tile`, `later` pairs of runs behind the batch's first.
  template <typename InputsAt>
  __device__ void add_batch(const Tile (&lows)[Format::kBatch], const Tile (&highs)[Format::kBatch],
                            const InputsAt& inputs_at) {
#pragma unroll
    for (int i = 0; i < Format::kBatch; ++i) {
      const Scales low_scales(lows[i]);
      const Scales high_scales(highs[i]);
#pragma unroll
      for (int pair = 0; pair < kRuns / 2; ++pair) {
        uint32_t codes[2][4];
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          codes_of(lows[i], highs[i], 2 * pair + r, codes[r]);
        }
        const int later = i * (kRuns / 2) + pair;  // than the first pair
#pragma unroll
        for (int tile = 0; tile < kRowTiles; ++tile) {
          const PairInputs inputs = inputs_at(tile, later);
          add_pair(acc_[tile], codes, inputs, low_scales.scale + pair * kGroups,
                   high_scales.scale + pair * kGroups);
          if constexpr (Format::kHasMin) {
            add_offsets(acc_[tile][0], low_scales.min + 2 * pair, inputs.sums);
            add_offsets(acc_[tile][1], high_scales.min + 2 * pair, inputs.sums);
          }
        }
      }
    }
  }

  // acc += the products of two runs, group by group.
  static __device__ void add_pair(float (&acc)[2], const uint32_t (&codes)[2][4],
                                  const PairInputs& inputs, const float* low, const float* high) {
    const uint32_t columns[2][2] = {{inputs.x.x, inputs.x.y}, {inputs.x.z, inputs.x.w}};
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      int c[4] = {0, 0, 0, 0};
      if constexpr (Format::kGroup == 64) {
        multiply_add_bytes<Format::kUnsigned>(c, codes[0], columns[0][0], columns[0][1]);
        multiply_add_bytes<Format::kUnsigned>(c, codes[1], columns[1][0], columns[1][1]);
      } else if constexpr (Format::kGroup == 32) {
        multiply_add_bytes<Format::kUnsigned>(c, codes[group], columns[group][0],
                                              columns[group][1]);
      } else {
        static_assert(Format::kGroup == 16);
        multiply_add_bytes<Format::kUnsigned>(c, codes[group / 2][2 * (group % 2)],
                                              codes[group / 2][2 * (group % 2) + 1],
                                              columns[group / 2][group % 2]);
      }
      const int offset = Format::kZero != 0 ? inputs.offsets[group] : 0;
      acc[0] =
          fmaf(static_cast<float>(c[0] * 256 + (c[1] + offset)), low[group] * inputs.scale, acc[0]);
      acc[1] = fmaf(static_cast<float>(c[2] * 256 + (c[3] + offset)), high[group] * inputs.scale,
                    acc[1]);
    }
  }

  SharedPlace x_[kRowTiles];  // of pair 0
  SharedPlace scales_[kRowTiles];
  SharedPlace offsets_[kRowTiles];
  SharedPlace sums_[kRowTiles];
  int pair_bytes_;
  PairInputs held_[kCanHold ? kPairs : 1];
  float acc_[kRowTiles][2] = {};
};

}  // namespace lychee::linear::cuda
