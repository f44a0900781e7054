#pragma once

#include <cstdint>

#include "kernels/attention/cpu/softmax_state.h"
#include "kernels/attention/params.h"

namespace lychee::attention::cpu {

// A run of tokens of one (row, KV head): the unit of work of hybrid_decode, for all query heads of
// the group together, so that K and V are read once.
struct DecodeChunk {
  int group_size;
  int head_dim;
  float scale_log2;     // scale · log2 e
  const float* q;       // [group_size, head_dim]
  const float* mean_q;  // [head_dim]; null when no scores are wanted
  PagedKv kv;           // `k` and `v` at the KV head
  const int32_t* page_table;
  const int32_t* ids;  // [num_tokens]; null: the tokens from first_position on
  int64_t first_position;
  int64_t num_tokens;
  float* scores;         // [num_tokens], mean_q · k
  SoftmaxState* states;  // [group_size], written
  float* acc;            // [group_size, head_dim], written: sum of weight · V
};

// Picks the best instruction set at run time.
void decode_chunk(const DecodeChunk& chunk);

}  // namespace lychee::attention::cpu
