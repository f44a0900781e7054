#pragma once

#include <cstdint>

struct CUstream_st;

namespace lychee::attention {

// The token sets of one head, one per row.
struct RowSets {
  const int32_t* ids = nullptr;      // [num_rows, ids_stride], positions; distinct, any order
  const int32_t* num_ids = nullptr;  // [num_rows], valid prefix of each row; at least 1
  int64_t ids_stride = 0;
};

// Attention of consecutive target rows over a constant context and one another, as head training
// sees it: row i stands at position context_len + i and acts as a decode step over n = context_len
// + i + 1 tokens. Per KV head, the output is z · (softmax over all n) + (1 - z) · (softmax over the
// row's token set).
template <typename Real>
struct BlendedAttentionParams {
  int64_t num_rows;
  int num_q_heads;
  int num_kv_heads;  // divides num_q_heads
  int head_dim;
  Real scale;
  int64_t context_len;
  const Real* context_k;  // [num_kv_heads, context_stride, head_dim]
  const Real* context_v;  // same
  int64_t context_stride;
  const Real* q;  // [num_rows, num_q_heads, head_dim]
  const Real* k;  // [num_rows, num_kv_heads, head_dim]
  const Real* v;  // same
  const Real* z;  // [num_kv_heads], each in [0, 1]
  // Per KV head, or with sets_per_q_head per query head; null: z is 1 everywhere.
  const RowSets* sets;
  bool sets_per_q_head;
  Real* out;  // [num_rows, num_q_heads, head_dim]
  // Raw scores q·k before scale: [num_kv_heads, num_rows, scores_stride] of the mean query of each
  // group, or with scores_per_q_head [num_q_heads, num_rows, scores_stride]. Null: not wanted.
  float* scores;
  int64_t scores_stride;  // >= context_len + num_rows
  bool scores_per_q_head;
  const uint8_t* emit_scores;  // [num_kv_heads]: where scores are wanted; null: everywhere
  void* workspace;             // blended_attention_workspace_bytes(params)
  // CUDA: operands are multiplied in two parts of bf16, 16 bits, instead of rounded to bf16 once.
  // The CPU multiplies in f32 always.
  bool exact = false;
};

// Its adjoint. The context is constant; the sets are not differentiated.
template <typename Real>
struct BlendedAttentionBackwardParams {
  BlendedAttentionParams<Real> forward;  // the same inputs; out, scores and workspace are not used
  const Real* d_out;                     // [num_rows, num_q_heads, head_dim]
  Real* d_q;                             // same, overwritten
  Real* d_k;                             // [num_rows, num_kv_heads, head_dim], overwritten
  Real* d_v;                             // same
  double* d_z;                           // [num_kv_heads], overwritten
  void* workspace;                       // blended_attention_backward_workspace_bytes(params)
};

namespace reference {
// One row and head after the other; ignores the workspace. Tests only.
void blended_attention(const BlendedAttentionParams<double>& params);
void blended_attention_backward(const BlendedAttentionBackwardParams<double>& params);
}  // namespace reference

namespace cpu {
// Results do not depend on the number of threads.
[[nodiscard]] int64_t blended_attention_workspace_bytes(const BlendedAttentionParams<float>& p);
void blended_attention(const BlendedAttentionParams<float>& params);
[[nodiscard]] int64_t blended_attention_backward_workspace_bytes(
    const BlendedAttentionBackwardParams<float>& params);
void blended_attention_backward(const BlendedAttentionBackwardParams<float>& params);
}  // namespace cpu

namespace cuda {
// Pointers are device memory, except `sets` and `emit_scores`, which the host reads during the call
// (what a RowSets points to is device memory). Enqueues on `stream`. head_dim up to 128, at most
// 128 query heads. Sums are added in a fixed order: the same call gives the same bits. Workspace
// sizes depend on sizes and on whether `sets` is null, not on what else pointers hold; 256-byte
// aligned.
[[nodiscard]] int64_t blended_attention_workspace_bytes(const BlendedAttentionParams<float>& p);
void blended_attention(const BlendedAttentionParams<float>& params, CUstream_st* stream);
[[nodiscard]] int64_t blended_attention_backward_workspace_bytes(
    const BlendedAttentionBackwardParams<float>& params);
void blended_attention_backward(const BlendedAttentionBackwardParams<float>& params,
                                CUstream_st* stream);
}  // namespace cuda

}  // namespace lychee::attention
