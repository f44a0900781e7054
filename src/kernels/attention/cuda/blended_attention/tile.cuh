#pragma once

#include <cstdint>

#include "kernels/attention/cuda/blended_attention/view.h"
#include "kernels/attention/cuda/chunk_slot.cuh"
#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/matrix.cuh"

namespace lychee::attention::cuda {

// Starts the copies of kRows rows of a head's plane, by all threads of the block.
template <typename Traits, int kRows, int kThreads>
__device__ void copy_rows(const __nv_bfloat16* plane, int first_row, uint32_t to) {
  constexpr int kChunks = kRows * Traits::kChunksPerRow;
  static_assert(kChunks % kThreads == 0);
#pragma unroll
  for (int j = 0; j < kChunks / kThreads; ++j) {
    const int i = j * kThreads + static_cast<int>(threadIdx.x);
    const int row = i / Traits::kChunksPerRow;
    const int chunk = i % Traits::kChunksPerRow;
    copy_async_16(to + 16 * static_cast<uint32_t>(chunk_slot<Traits::kChunksPerRow>(row, chunk)),
                  plane + 8 * plane_chunk(first_row + row, chunk, Traits::kDim), true);
  }
}

// The same for all parts, each plane_stride elements and a tile further.
template <typename Traits, int kRows, int kThreads>
__device__ void copy_parts(const __nv_bfloat16* plane, int first_row, int64_t plane_stride,
                           uint32_t to) {
#pragma unroll
  for (int part = 0; part < Traits::kParts; ++part) {
    copy_rows<Traits, kRows, kThreads>(plane + part * plane_stride, first_row,
                                       to + part * kRows * Traits::kRowBytes);
  }
}

// c += a · b without what is below the last part's precision; small products first.
template <int kParts, int kCount>
__device__ void multiply_parts(float (&c)[4], const uint32_t (&a)[kParts][kCount][4], int at,
                               const uint32_t (&b)[kParts][4], int first) {
  if constexpr (kParts == 2) {
    multiply_add<__nv_bfloat16>(c, a[1][at], b[0][first], b[0][first + 1]);
    multiply_add<__nv_bfloat16>(c, a[0][at], b[1][first], b[1][first + 1]);
  }
  multiply_add<__nv_bfloat16>(c, a[0][at], b[0][first], b[0][first + 1]);
}

// c[16 kRowTiles × 8 kColumnTiles] += a · bᵀ over the dimensions: rows of two tiles in shared
// memory, whose parts are a_part_bytes and b_part_bytes apart.
template <typename Traits, int kRowTiles, int kColumnTiles>
__device__ void multiply_rows(uint32_t a_rows, int a_part_bytes, uint32_t b_rows, int b_part_bytes,
                              float (&c)[kRowTiles][kColumnTiles][4]) {
  constexpr int kParts = Traits::kParts;
  constexpr int kChunks = Traits::kChunksPerRow;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int b_row = (lane & 7) + (lane >> 4) * 8;
#pragma unroll
  for (int step = 0; step < Traits::kDim / 16; ++step) {
    uint32_t a[kParts][kRowTiles][4];
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
#pragma unroll
      for (int tile = 0; tile < kRowTiles; ++tile) {
        load_matrices(a[part][tile], a_rows + part * a_part_bytes +
                                         16 * chunk_slot<kChunks>(tile * 16 + (lane & 15),
                                                                  2 * step + (lane >> 4)));
      }
    }
#pragma unroll
    for (int column = 0; column < kColumnTiles; column += 2) {
      uint32_t b[kParts][4];
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        load_matrices(b[part], b_rows + part * b_part_bytes +
                                   16 * chunk_slot<kChunks>(column * 8 + b_row,
                                                            2 * step + ((lane >> 3) & 1)));
      }
#pragma unroll
      for (int tile = 0; tile < kRowTiles; ++tile) {
        multiply_parts(c[tile][column], a, tile, b, 0);
        multiply_parts(c[tile][column + 1], a, tile, b, 2);
      }
    }
  }
}

// acc[16 kRowTiles × kDim] += weights · b: rows of b in shared memory, weights as multiply_rows
// leaves its c.
template <typename Traits, int kRowTiles, int kColumnTiles>
__device__ void add_weighted_rows(const float (&weights)[kRowTiles][kColumnTiles][4],
                                  uint32_t b_rows, int b_part_bytes,
                                  float (&acc)[kRowTiles][Traits::kDim / 8][4]) {
  constexpr int kParts = Traits::kParts;
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int step = 0; step < kColumnTiles / 2; ++step) {
    uint32_t a[kParts][kRowTiles][4];
#pragma unroll
    for (int tile = 0; tile < kRowTiles; ++tile) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        uint32_t parts[kParts];
        const float(&pair)[4] = weights[tile][2 * step + i / 2];
        split_pair<__nv_bfloat16, kParts>(parts, pair[2 * (i % 2)], pair[2 * (i % 2) + 1]);
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
          a[part][tile][i] = parts[part];
        }
      }
    }
#pragma unroll
    for (int dim = 0; dim < Traits::kDim / 8; dim += 2) {
      uint32_t b[kParts][4];
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        load_matrices_transposed(b[part], b_rows + part * b_part_bytes +
                                              16 * chunk_slot<Traits::kChunksPerRow>(
                                                       step * 16 + (lane & 15), dim + (lane >> 4)));
      }
#pragma unroll
      for (int tile = 0; tile < kRowTiles; ++tile) {
        multiply_parts(acc[tile][dim], a, tile, b, 0);
        multiply_parts(acc[tile][dim + 1], a, tile, b, 2);
      }
    }
  }
}

}  // namespace lychee::attention::cuda
