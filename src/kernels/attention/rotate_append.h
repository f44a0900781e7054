#pragma once

#include "kernels/attention/params.h"

struct CUstream_st;

namespace lychee::attention {

// What a prompt's rows become between the projections and attention: queries and keys are rotated
// (kernels/rope/rope.h), keys and values go to the cache as kv_append puts them, queries, rounded,
// to an array of their own.
struct RotateAppendParams {
  int num_tokens;
  int num_q_heads;
  int num_kv_heads;
  int head_dim;               // a multiple of 8
  int64_t first_position;     // of the first token
  const float* q;             // [num_tokens, num_q_heads, head_dim], token stride `row_stride`
  const float* k;             // [num_tokens, num_kv_heads, head_dim], same stride
  const float* v;             // same
  int64_t row_stride;         // elements, a multiple of 4
  const float* rope_table;    // [num_tokens, head_dim] of rope::make_rope_table
  const int32_t* page_table;  // [ceil((first_position + num_tokens) / kPageSize)]
  PagedKv kv;                 // kF16, kBF16 or kF8E4M3, with strides of whole 16 bytes
  DType q_dtype;              // of q_out: kF16 or kBF16
  void* q_out;                // [num_tokens, num_q_heads, head_dim]; f16 keeps to its finite range
};

// The same for the newest token of each sequence of a decode step, whose keys and values go to its
// last position; queries stay f32 where they are. Where the model has them, RMSNorms of the heads
// of q and k come first.
struct RotateAppendRowsParams {
  int batch;
  int num_q_heads;
  int num_kv_heads;
  int head_dim;      // even, at most 256
  float* q;          // [batch, num_q_heads, head_dim], row stride q_stride
  int64_t q_stride;  // elements
  NewestTokens newest;
  const int32_t* page_tables;  // [batch, page_table_stride]
  int64_t page_table_stride;
  const int64_t* kv_lens;  // [batch], the new token included; >= 1
  PagedKv kv;              // kF32, kF16, kBF16 or kF8E4M3
};

namespace reference {
// In double. Tests only.
void rotate_append(const RotateAppendParams& params);
void rotate_append_rows(const RotateAppendRowsParams& params);
}  // namespace reference

namespace cuda {
// The CPU's decoder takes the three steps one by one.
void rotate_append(const RotateAppendParams& params, CUstream_st* stream);
void rotate_append_rows(const RotateAppendRowsParams& params, CUstream_st* stream);
}  // namespace cuda

}  // namespace lychee::attention
