#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/attention/cuda/blended_attention/view.h"

namespace lychee::attention::cuda {

// A block's queries, its range of tokens, and what a thread holds of them: 16 kRowTiles queries a
// warp and tiles of 8 kTokenTiles tokens, in the layout of mma.m16n8k16.
template <int kDim_, int kQueries_, int kRowTiles, int kTokenTiles>
class BlockRows {
 public:
  static constexpr int kDim = kDim_;
  static constexpr int kQueries = kQueries_;
  static constexpr int kNumWarps = kQueries / (16 * kRowTiles);
  static constexpr int kNumThreads = kNumWarps * 32;
  static constexpr int kTileTokens = 8 * kTokenTiles;
  // Slot 2 tile + half of a thread is row 16 tile + 8 half + lane / 4 of its warp's.
  static constexpr int kSlots = 2 * kRowTiles;
  // Of a slot, in a tile of scores.
  static constexpr int kElements = 2 * kTokenTiles;
  using Scores = float[kRowTiles][kTokenTiles][4];
  using Outputs = float[kRowTiles][kDim / 8][4];

  // Which of a slot's elements are members of its row's set.
  struct Members {
    uint32_t words[kTileTokens / 32];  // shifted so that i decides on the bit alone

    [[nodiscard]] __device__ bool has(int i) const {
      return (words[i / 8] & (1U << (i % 8 / 2 * 8 + i % 2))) != 0;
    }
  };

  // grid: (query tiles, KV heads, splits). The last queries read most, so they come first.
  __device__ explicit BlockRows(const BlendedView& view)
      : view_(view),
        kv_head_(static_cast<int>(blockIdx.y)),
        first_query_(static_cast<int>(gridDim.x - 1 - blockIdx.x) * kQueries) {
    const int last_row = min((first_query_ + kQueries - 1) / view.group_size, view.num_rows - 1);
    const int end = view.context_len + last_row + 1;
    const int tiles = view.tokens_per_split / kTileTokens;
    first_tile_ = static_cast<int>(blockIdx.z) * tiles;
    end_tile_ = min(first_tile_ + tiles, (end + kTileTokens - 1) / kTileTokens);
    warp_position_ = view.context_len + (first_query_ + warp_row()) / view.group_size;
#pragma unroll
    for (int slot = 0; slot < kSlots; ++slot) {
      const int query = min(query_of(slot), view.num_queries - 1);
      const int row = query / view.group_size;
      position_[slot] = view.context_len + row;
      const int set_head =
          view.bits_per_q_head ? kv_head_ * view.group_size + query % view.group_size : kv_head_;
      bits_[slot] = (static_cast<uint32_t>(set_head) * view.num_rows + row) * view.bit_words;
    }
  }

  [[nodiscard]] __device__ int kv_head() const {
    return kv_head_;
  }
  [[nodiscard]] __device__ int query_of(int slot) const {
    return first_query_ + warp_row() + slot * 8 + lane() / 4;
  }
  // The last token that a slot's query sees.
  [[nodiscard]] __device__ int position(int slot) const {
    return position_[slot];
  }
  [[nodiscard]] static __device__ int lane() {
    return static_cast<int>(threadIdx.x % 32);
  }

  [[nodiscard]] __device__ Members members(int first_token, int slot) const {
    Members members = {};
    if (view_.bits != nullptr) {
#pragma unroll
      for (int i = 0; i < kTileTokens / 32; ++i) {
        members.words[i] = view_.bits[bits_[slot] + first_token / 32 + i] >> (2 * (lane() % 4));
      }
    }
    return members;
  }

  // Of element i: its token in a tile of scores, its dimension in outputs.
  [[nodiscard]] static __device__ int column(int i) {
    return i / 2 * 8 + 2 * (lane() % 4) + i % 2;
  }
  [[nodiscard]] static __device__ float& at(Scores& scores, int slot, int i) {
    return scores[slot / 2][i / 2][2 * (slot % 2) + i % 2];
  }

  // Each slot's row of outputs times its scale goes to its query's row of out[num_rows,
  // num_kv_heads, group_size, head_dim].
  __device__ void store(const Outputs& outputs, const float (&scales)[kSlots], float* out) const {
#pragma unroll
    for (int slot = 0; slot < kSlots; ++slot) {
      const int query = query_of(slot);
      if (query >= view_.num_queries) {
        continue;
      }
      const int64_t row = int64_t{query / view_.group_size} * view_.num_kv_heads + kv_head_;
      float* to = out + (row * view_.group_size + query % view_.group_size) * view_.head_dim;
#pragma unroll
      for (int i = 0; i < 2 * (kDim / 8); ++i) {
        if (column(i) < view_.head_dim) {
          to[column(i)] = outputs[slot / 2][i / 2][2 * (slot % 2) + i % 2] * scales[slot];
        }
      }
    }
  }

 protected:
  [[nodiscard]] static __device__ int warp_row() {
    return static_cast<int>(threadIdx.x / 32) * 16 * kRowTiles;
  }
  // Scores of tokens that a query does not see become -infinity.
  __device__ void mask(int first_token, Scores& scores) const {
    if (first_token + kTileTokens - 1 <= warp_position_) {
      return;
    }
#pragma unroll
    for (int slot = 0; slot < kSlots; ++slot) {
#pragma unroll
      for (int i = 0; i < kElements; ++i) {
        if (first_token + column(i) > position_[slot]) {
          at(scores, slot, i) = -INFINITY;
        }
      }
    }
  }

  const BlendedView& view_;
  int kv_head_;
  int first_query_;
  int first_tile_;
  int end_tile_;
  int warp_position_;  // of the warp's first query
  int position_[kSlots];
  uint32_t bits_[kSlots];
};

}  // namespace lychee::attention::cuda
