#pragma once

#include <cstdint>

#include "kernels/attention/params.h"

namespace lychee::attention::cpu {

constexpr int kTileKeys = kPageSize;  // keys at a time: a page, so that they lie evenly spaced
constexpr int kPanelRows = 8;     // keys or dimensions multiplied at once; divides every head_dim
constexpr int kPanelVectors = 3;  // vectors of query columns at once
constexpr int kMaxLanes = 16;
constexpr int kMaxPanelColumns = kPanelVectors * kMaxLanes;

// Some consecutive tokens of one KV head, all query heads of the group: the unit of work of
// prefill_attention. K and V of a page are widened once for all of them.
struct PrefillBlock {
  const PrefillAttentionParams& params;
  int64_t kv_head;
  int64_t first_token;  // row of params.q
  int64_t num_tokens;
  float* scratch;  // [prefill_scratch_floats(…)], aligned to 64 bytes
};

// Floats of scratch for a block of `num_rows` = num_tokens · group_size query rows.
[[nodiscard]] int64_t prefill_scratch_floats(int64_t num_rows, int head_dim);

// Picks the best instruction set at run time.
void prefill_block(const PrefillBlock& block);

}  // namespace lychee::attention::cpu
