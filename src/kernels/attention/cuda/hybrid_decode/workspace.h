#pragma once

#include <vector_types.h>

#include <cstdint>

#include "kernels/attention/params.h"

namespace lychee::attention::cuda {

// The partial results of the parts that share a head, in the workspace.
struct Partials {
  float* acc;     // [slots, group_size, head_dim]
  float2* state;  // [slots, group_size]: max, sum
};

// How the workspace of a launch is laid out: per row, slots of partial results.
struct DecodeWorkspace {
  static constexpr int kMaxParts = 192;  // what a block's merge has room for

  void* memory;
  int max_parts;      // into which a row may be cut
  int slots_per_row;  // ranges of a row: a part ends, or a head does

  [[nodiscard]] __host__ __device__ int64_t slot_floats(const HybridDecodeParams& params) const {
    return int64_t{params.num_q_heads / params.num_kv_heads} * (params.head_dim + 2);
  }
  [[nodiscard]] int64_t bytes(const HybridDecodeParams& params) const {
    return int64_t{params.batch} * slots_per_row * slot_floats(params) *
           static_cast<int64_t>(sizeof(float));
  }
  [[nodiscard]] __host__ __device__ Partials partials(int64_t row,
                                                      const HybridDecodeParams& params) const {
    const int64_t group_size = params.num_q_heads / params.num_kv_heads;
    auto* acc =
        static_cast<float*>(memory) + row * slots_per_row * group_size * (params.head_dim + 2);
    return {acc, reinterpret_cast<float2*>(acc + slots_per_row * group_size * params.head_dim)};
  }
};

}  // namespace lychee::attention::cuda
