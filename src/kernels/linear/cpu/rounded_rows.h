#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace lychee::linear::cpu {

// Activations rounded to int8 in groups of 32, in the order in which weight formats are read.
//
// 64 bytes of packed weights become two planes of one byte a value, the low and the high nibbles.
// So activations lie in tiles of 128 as two planes of 64 values to match.
enum class RowOrder {
  kBlocks32,   // 16 bytes hold values 0-15 low and 16-31 high
  kChunks64,   // Q4_K, Q5_K: 32 bytes hold values 0-31 low and 32-63 high
  kHalves128,  // Q6_K: 64 bytes hold values 0-63 low and 64-127 high
};

constexpr int64_t kTile = 128;  // values
constexpr int64_t kPlane = 64;  // of the two halves of a tile
constexpr int64_t kGroup = 32;  // values per scale of the activations
constexpr int64_t kRowOrders = 3;

// Scales stand beside the sums of what they belong to, as the scales of many formats stand beside
// their minima: groups of so many scales and then as many sums.
[[nodiscard]] constexpr int64_t scale_group(RowOrder order) {
  return order == RowOrder::kBlocks32 ? 1 : 8;
}

// 4, one a group of values; 8 for Q6_K, whose weights have a scale for every 16 values.
[[nodiscard]] constexpr int64_t scales_per_tile(RowOrder order) {
  return order == RowOrder::kHalves128 ? 8 : 4;
}

struct RoundedRows {
  RowOrder order;
  int64_t num_tiles;
  int64_t scale_stride;  // floats: 2 · num_tiles · scales_per_tile, rounded up to 16
  int8_t* values;        // [num_rows, num_tiles, 2, 64], zero beyond in_features
  float* scales;  // [num_rows, scale_stride]: value = scale · rounded, and sums of values, in
                  // turns of scale_group; zero beyond in_features
};

// Whether the CPU has vectors. Without them integer products cost more than f32 ones and nothing is
// rounded.
[[nodiscard]] bool can_round_rows();

[[nodiscard]] RowOrder row_order(DType weight_dtype);

[[nodiscard]] int64_t rounded_rows_bytes(RowOrder order, int64_t num_rows, int64_t in_features);

[[nodiscard]] int64_t scale_stride(RowOrder order, int64_t in_features);

// Lays the arrays out in `memory` (rounded_rows_bytes, aligned to 64 bytes).
[[nodiscard]] RoundedRows rounded_rows_in(void* memory, RowOrder order, int64_t num_rows,
                                          int64_t in_features);

// Fills row `row` from x [in_features], a multiple of 32 long. A group that holds NaN or infinity
// gets a NaN scale.
void round_row(const float* x, int64_t in_features, const RoundedRows& rows, int64_t row);

}  // namespace lychee::linear::cpu
