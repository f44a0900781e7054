#pragma once

#include <cstdint>

namespace lychee::attention::cuda {

// Where 16-byte chunk `chunk` of tile row `row` lies in shared memory, in chunks: eight rows of one
// chunk index fall into different banks, as load_matrices wants them.
template <int kChunksPerRow>
[[nodiscard]] __device__ inline int chunk_slot(int row, int chunk) {
  if constexpr (kChunksPerRow >= 8) {
    return row * kChunksPerRow + (chunk ^ (row & 7));
  } else {
    return row * kChunksPerRow + (chunk ^ ((row >> 1) & (kChunksPerRow - 1)));
  }
}

// The address of the chunk `rows` rows below that at `address`, of a tile that lies at a multiple
// of 128 bytes: as chunk_slot() says, but one register serves all rows of a lane. `rows` and the
// row of `address` have no bit in common; with fewer than eight chunks a row, `rows` is a multiple
// of eight.
template <int kChunksPerRow>
[[nodiscard]] __device__ inline uint32_t later_row(uint32_t address, int rows) {
  const uint32_t change = kChunksPerRow >= 8 ? static_cast<uint32_t>(rows & 7) : 0;
  return (address ^ 16 * change) + static_cast<uint32_t>(16 * rows * kChunksPerRow);
}

// The power of two that brings a query's largest value near 2^10, so that neither it nor its small
// parts leave f16's range; `unit` gets the inverse.
[[nodiscard]] __device__ inline float f16_factor(float largest, float& unit) {
  const int exponent = min(max(static_cast<int>(__float_as_uint(largest) >> 23), 20), 240);
  unit = __uint_as_float(static_cast<uint32_t>(exponent - 10) << 23);
  return __uint_as_float(static_cast<uint32_t>(254 + 10 - exponent) << 23);
}

}  // namespace lychee::attention::cuda
