#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/attention/cuda/chunk_slot.cuh"
#include "kernels/attention/cuda/head_pairs.cuh"
#include "kernels/attention/cuda/hybrid_decode/traits.h"
#include "kernels/attention/cuda/paged_kv.cuh"
#include "kernels/cuda/warp.cuh"

// What becomes of the tokens that the projections have just left (NewestTokens): a warp at a time.
namespace lychee::attention::cuda {

template <typename Traits>
class NewestToken {
 public:
  using Pairs = HeadPairs<Traits::kHeadDim>;
  using Stored = std::conditional_t<
      Traits::kIsFp8, __nv_fp8_e4m3,
      std::conditional_t<Traits::kKvDType == DType::kBF16, __nv_bfloat16, __half>>;

  __device__ NewestToken(const HybridDecodeParams& params, int row, int kv_head)
      : params_(params), row_(row), kv_head_(kv_head) {}

  // To row `tile_row` of a tile of the ring.
  __device__ void store_in_tile(unsigned char* k_plane, unsigned char* v_plane,
                                int tile_row) const {
    const auto store = [&](const Pairs& pairs, unsigned char* plane, float scale) {
      const auto element = [&](int dim) {
        const int byte = dim * int{sizeof(Stored)};
        const int slot = chunk_slot<Traits::kRowBytes / 16>(tile_row, byte / 16);
        return reinterpret_cast<Stored*>(plane + slot * 16 + byte % 16);
      };
      pairs.for_each([&](int i, int pair) {
        *element(pair) = round_to<Stored>(pairs.first[i] / scale);
        *element(pairs.half + pair) = round_to<Stored>(pairs.second[i] / scale);
      });
    };
    store(key(), k_plane, scale_of(params_.kv.k_scales));
    store(value(), v_plane, scale_of(params_.kv.v_scales));
  }

  // To the cache.
  __device__ void append() const {
    const int64_t offset =
        device_kv_offset(params_.kv, params_.page_tables + row_ * params_.page_table_stride,
                         params_.kv_lens[row_] - 1, kv_head_);
    key().store(static_cast<Stored*>(params_.kv.k) + offset, scale_of(params_.kv.k_scales));
    value().store(static_cast<Stored*>(params_.kv.v) + offset, scale_of(params_.kv.v_scales));
  }

  // Rotates the queries of the group, [group_size, head_dim], where they lie.
  __device__ void rotate_queries(float* q, int group_size) const {
    const Pairs table = rope_table();
    const float* const norm = params_.newest.q_norm;
#pragma unroll 1
    for (int head = 0; head < group_size; ++head) {
      Pairs pairs = load(q + head * Traits::kHeadDim);
      if (norm != nullptr) {
        pairs.normalize(load(norm), params_.newest.norm_eps);
      }
      pairs.rotate(table);
      pairs.store(q + head * Traits::kHeadDim, 1.0F);
    }
  }

 private:
  [[nodiscard]] static __device__ Pairs load(const float* x) {
    return Pairs(x, Traits::kHeadDim / 2);
  }
  [[nodiscard]] __device__ Pairs rope_table() const {
    return load(params_.newest.rope_table + int64_t{row_} * Traits::kHeadDim);
  }
  [[nodiscard]] __device__ int64_t offset() const {
    return row_ * params_.newest.kv_stride + int64_t{kv_head_} * Traits::kHeadDim;
  }
  [[nodiscard]] __device__ Pairs key() const {
    Pairs pairs = load(params_.newest.k + offset());
    const Pairs table = rope_table();
    if (params_.newest.k_norm != nullptr) {
      pairs.normalize(load(params_.newest.k_norm), params_.newest.norm_eps);
    }
    pairs.rotate(table);
    return pairs;
  }
  [[nodiscard]] __device__ Pairs value() const {
    return load(params_.newest.v + offset());
  }
  [[nodiscard]] __device__ float scale_of(const float* scales) const {
    return scales == nullptr ? 1.0F : scales[kv_head_];
  }

  const HybridDecodeParams& params_;
  int row_;
  int kv_head_;
};

}  // namespace lychee::attention::cuda
