#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace lychee::linear::cpu {

// Activations rounded to int8 in groups of 32, in the order in which one weight format is read.
//
// A vector of 16-bit lanes that holds packed weights is turned into four vectors by masks and one
// shift, without widening: low nibbles of even and odd bytes, high nibbles of even and odd bytes.
// So activations lie in tiles of 128 as four planes of 32 values to match, already multiplied by
// what a mask without a shift leaves on the weight: every product is 256 times too large, which the
// scales take back.
enum class RowOrder {
  kBytes,      // Q8_0: one byte a value
  kBlocks32,   // nibbles: 16 bytes hold values 0-15 low and 16-31 high
  kChunks64,   // Q4_K, Q5_K: 32 bytes hold values 0-31 low and 32-63 high
  kHalves128,  // Q6_K: 64 bytes hold values 0-63 low and 64-127 high
};

constexpr int64_t kTile = 128;      // values
constexpr int64_t kTilePlanes = 4;  // of 32 values
constexpr int64_t kGroup = 32;      // values per scale of the activations
constexpr int64_t kRowOrders = 4;

struct RoundedRows {
  RowOrder order;
  int64_t num_tiles;
  int64_t scale_stride;  // num_tiles · scales_per_tile, rounded up to 16
  int16_t* values;       // [num_rows, num_tiles, 4, 32], zero beyond in_features
  float* scales;         // [num_rows, scale_stride]: value = 256 · scale · rounded; zero beyond
  float* sums;           // like scales: the sum of the values that a scale belongs to
};

// Whether the CPU has vectors. Without them integer products cost more than f32 ones and nothing is
// rounded.
[[nodiscard]] bool can_round_rows();

[[nodiscard]] RowOrder row_order(DType weight_dtype);

// 4, one a group; 8 for Q6_K, whose weights have a scale for every 16 values.
[[nodiscard]] inline int64_t scales_per_tile(RowOrder order) {
  return order == RowOrder::kHalves128 ? 8 : 4;
}

[[nodiscard]] int64_t rounded_rows_bytes(RowOrder order, int64_t num_rows, int64_t in_features);

[[nodiscard]] int64_t scale_stride(RowOrder order, int64_t in_features);

// Lays the arrays out in `memory` (rounded_rows_bytes, aligned to 64 bytes).
[[nodiscard]] RoundedRows rounded_rows_in(void* memory, RowOrder order, int64_t num_rows,
                                          int64_t in_features);

// Fills row `row` from x [in_features], a multiple of 32 long. A group that holds NaN or infinity
// gets a NaN scale.
void round_row(const float* x, int64_t in_features, const RoundedRows& rows, int64_t row);

}  // namespace lychee::linear::cpu
