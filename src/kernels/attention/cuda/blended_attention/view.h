#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>
#include <vector_types.h>

#include <cstdint>

#include "kernels/attention/blended_attention.h"

namespace lychee::attention::cuda {

constexpr int kMaxHeads = 128;

// How a row weighs tokens t once its softmax sums are known, in base 2: the weight is
// 2^(score · log2_scale - log2_sum), the gradient of a scaled score weight · (d_weight - mean),
// with the first values for members of the row's set and the second for other tokens.
struct alignas(16) RowWeights {
  float log2_sum_member, log2_sum_other;
  float mean_member, mean_other;
};

// Rows of a plane come in panels of 64, as the tensor cores of compute capability 9.0 read them in
// shared memory: the 64 dimensions that make 128 bytes lie together, for one row after the other,
// their chunks of 16 bytes exchanged so that eight rows of one chunk index fall into different
// banks.
constexpr int kPanelRows = 64;

// Where the chunk that begins at dimension 8 · chunk of a row lies, in chunks.
[[nodiscard]] __host__ __device__ constexpr int64_t plane_chunk(int64_t row, int chunk, int dim) {
  const int64_t panel = row / kPanelRows;
  const auto in_panel = static_cast<int>(row % kPanelRows);
  return panel * (kPanelRows * (dim / 8)) + chunk / 8 * (kPanelRows * 8) + in_panel * 8 +
         ((chunk % 8) ^ (in_panel % 8));
}

// What the kernels of one call see. The queries of a KV head are the rows of its group one after
// the other: query = row · group_size + g. Tokens are the context, then the targets. Operands lie
// in planes of bf16, [part, kv_head, padded_tokens or padded_queries, dim] with the chunks of a
// head in the order of plane_chunk(), zeros where padded.
struct BlendedView {
  int num_rows, context_len;
  int num_kv_heads, group_size, head_dim;
  int num_queries, padded_queries;
  int padded_tokens;
  int num_splits, tokens_per_split;  // ranges that blocks of their own look after; whole tiles
  float scale, log2_scale;
  __nv_bfloat16* k;
  __nv_bfloat16* v;
  __nv_bfloat16* q;
  __nv_bfloat16* d_out;
  // Whether a token is a member: [set head, row, bit_words] of 32 tokens each; null: none is.
  uint32_t* bits;
  int bit_words;
  bool bits_per_q_head;
  float4* statistics;  // [num_splits, num_kv_heads, padded_queries]: max and sum of members, others
  float2* d_statistics;   // same: sums of weight · d_weight
  RowWeights* weights;    // [num_kv_heads, padded_queries]
  float* d_z;             // same: each query's part
  const float* z;         // [num_kv_heads]; null: 1
  float* out;             // [num_splits, num_rows, num_kv_heads, group_size, head_dim]
  int num_target_splits;  // ranges of queries that blocks of target tokens share
  float* d_k;             // [num_target_splits, num_rows, num_kv_heads, head_dim]
  float* d_v;             // same
};

// Where raw scores go: [num_kv_heads, group_size, num_rows, stride].
struct ScoresOutput {
  float* scores;
  int64_t stride;
  bool wanted[kMaxHeads];  // by KV head
};

}  // namespace lychee::attention::cuda
