#pragma once

#include <cstdint>

#include "lychee/selection.h"
#include "tensor/dtype.h"

namespace lychee::attention {

constexpr int kPageSize = 64;       // tokens per page of the KV cache
constexpr int kBoundPageSize = 16;  // tokens per page of the `page-bound` policy (Quest)

// The same structs serve every backend: with cuda:: all pointers are device pointers, and lengths
// that lie behind a pointer are read on the device, so that a captured graph serves any length.

// One layer's part of the paged KV cache. Dimension d of token t, KV head h of the sequence with
// page table `pages` lies, in elements of `dtype`, at
//   pages[t / kPageSize] * page_stride + h * head_stride + (t % kPageSize) * token_stride + d
// in `k` and in `v`. head_dim is contiguous.
struct PagedKv {
  DType dtype = DType::kF32;  // kF32, kF16 or kBF16; cuda:: also kF8E4M3
  void* k = nullptr;
  void* v = nullptr;
  int64_t page_stride = 0;
  int64_t head_stride = 0;
  int64_t token_stride = 0;
  // What the stored values of a KV head are multiplied by; null: 1. cuda:: only.
  const float* k_scales = nullptr;  // [num_kv_heads]
  const float* v_scales = nullptr;  // same
};

// Writes new K and V rows of one sequence into its pages, rounding to the cache's dtype.
struct KvAppendParams {
  int num_tokens;
  int num_kv_heads;
  int head_dim;
  int64_t first_position;     // of the first token
  const float* k;             // [num_tokens, num_kv_heads, head_dim], token stride `row_stride`
  const float* v;             // same
  int64_t row_stride;         // elements between tokens of k and of v
  const int32_t* page_table;  // [ceil((first_position + num_tokens) / kPageSize)]
  PagedKv kv;
};

// Scales for a cache of 8-bit floats: per KV head, of the largest |K| and the largest |V| of some
// tokens (kv_scales.h).
struct KvScalesParams {
  int num_tokens;
  int num_kv_heads;
  int head_dim;
  const float* k;      // [num_tokens, num_kv_heads, head_dim], token stride `row_stride`
  const float* v;      // same
  int64_t row_stride;  // elements between tokens of k and of v
  float* k_scales;     // [num_kv_heads]
  float* v_scales;     // same
};

// Causal dense attention of consecutive tokens of one sequence: row i stands at position
// first_position + i and reads positions 0 … first_position + i, all in the cache already.
struct PrefillAttentionParams {
  int num_tokens;
  int num_q_heads;
  int num_kv_heads;  // divides num_q_heads
  int head_dim;
  float scale;  // usually 1/sqrt(head_dim)
  int64_t first_position;
  const float* q;             // [num_tokens, num_q_heads, head_dim], token stride `q_row_stride`
  int64_t q_row_stride;       // elements
  const int32_t* page_table;  // [ceil((first_position + num_tokens) / kPageSize)]
  PagedKv kv;
  float* out;       // [num_tokens, num_q_heads, head_dim], contiguous
  bool exact;       // f32 arithmetic throughout; false allows narrower products
  void* workspace;  // prefill_attention_workspace_bytes(params)
};

// A decode step's newest tokens as the projections leave them: what rotate_append_rows() would do
// to them (rotate_append.h) before attention reads them from the cache.
struct NewestTokens {
  const float* k = nullptr;           // [batch, num_kv_heads, head_dim], row stride kv_stride
  const float* v = nullptr;           // same
  int64_t kv_stride = 0;              // elements
  const float* q_norm = nullptr;      // [head_dim], null: no norm
  const float* k_norm = nullptr;      // same
  float norm_eps = 0;                 // of both
  const float* rope_table = nullptr;  // [batch, head_dim] of rope::make_rope_table
};

// Decode attention of one token per sequence. Every (row, KV head) is either dense over all kv_len
// tokens, or restricted to a token set; one call serves both kinds, and every policy.
struct HybridDecodeParams {
  static constexpr int32_t kDense = -1;

  int batch;  // rows: one query token each
  int num_q_heads;
  int num_kv_heads;  // divides num_q_heads
  int head_dim;
  float scale;
  const float* q;              // [batch, num_q_heads, head_dim]; cuda:: aligned to 16 bytes
  const int32_t* page_tables;  // [batch, page_table_stride]
  int64_t page_table_stride;
  const int64_t* kv_lens;  // [batch], the current token included; >= 1
  PagedKv kv;
  const int32_t* set_of_head;  // [batch, num_kv_heads]: row of token_ids, or kDense
  const int32_t* token_ids;    // [num sets, token_ids_stride], positions; any order, distinct
  int64_t token_ids_stride;
  const int32_t* num_ids;  // [num sets], valid prefix of each row
  // Raw scores (mean over the group of q)·k of the dense heads, before scale (algorithm.md, 2), or
  // null. Written where emit_scores is non-zero.
  float* scores;               // [batch, num_kv_heads, scores_stride]
  int64_t scores_stride;       // >= max kv_len
  const uint8_t* emit_scores;  // [batch, num_kv_heads]; null: none
  float* out;                  // [batch, num_q_heads, head_dim]
  float* lse;                  // [batch, num_q_heads], natural log of the softmax sum, after scale;
                               // -inf for an empty set; null: not wanted
  void* workspace;             // hybrid_decode_workspace_bytes(params)
  // cuda:: only: cuda::hybrid_decode_num_arrivals(params) counters, zero before the first call;
  // every call leaves them at zero. Not to be shared by calls that may overlap.
  int32_t* arrivals = nullptr;
  // cuda:: only: `out` rounded to the nearest bf16, same shape; `out` may then be null. Null: not
  // wanted.
  bf16* rounded_out = nullptr;
  // cuda:: only, and only where cuda::takes_newest_tokens(params): the call itself norms and
  // rotates q and these keys, and writes these keys and values to each row's last position of the
  // cache. Null: that has been done.
  NewestTokens newest = {};
  // cuda:: only: token_ids and num_ids were written before the kernel that precedes this one on the
  // stream could start, so that they may be read while that one runs.
  bool sets_are_early = false;
};

// One token set from one row of scores.
struct SelectTokensParams {
  int num_rows;
  const float* scores;  // [num_rows, scores_stride]
  int64_t scores_stride;
  const int64_t* kv_lens;    // [num_rows]
  Selection selection;       // the same for all rows
  float scale;               // of the softmax in kMass and kThreshold
  int32_t* token_ids;        // [num_rows, token_ids_stride], written in ascending order
  int64_t token_ids_stride;  // >= max_selected(selection, max kv_len)
  int32_t* num_ids;          // [num_rows]
  void* workspace;           // select_tokens_workspace_bytes(params)
  // cuda:: only, for one call over all heads of all sequences:
  const uint8_t* active =
      nullptr;              // [num_rows]; zero: the row's set is left as it is; null: none is
  int rows_per_kv_len = 1;  // row r has kv_lens[r / rows_per_kv_len]
};

// The first `sink` and the last budget - sink positions of a sequence (`streaming`, `duo`), or all
// of them if the budget holds them.
struct StreamingSetParams {
  int num_rows;
  const int64_t* kv_lens;  // [num_rows]
  Selection selection;
  int32_t* token_ids;        // [num_rows, token_ids_stride], ascending
  int64_t token_ids_stride;  // >= max_selected(selection, max kv_len)
  int32_t* num_ids;          // [num_rows]
};

// Adds the scores of all KV heads of a sequence into those of its head 0, head by head
// (`layer-shared`).
struct SumScoresParams {
  int batch;
  int num_kv_heads;
  const int64_t* kv_lens;  // [batch]
  float* scores;           // [batch, num_kv_heads, scores_stride]
  int64_t scores_stride;   // >= max kv_len
};

// Page summaries of the `page-bound` policy: per bound page of kBoundPageSize tokens and KV head,
// the minimum and maximum of K over its tokens. They lie in pages of the cache itself, as if that
// of bound page b were the token at position b of the pages of `summary_table`: the minimum in `k`,
// the maximum in `v`, both as stored, to be multiplied by k_scales.
struct PageSummaryParams {
  int num_kv_heads;
  int head_dim;
  int64_t first_page;  // bound pages first_page … ceil(kv_len / kBoundPageSize) - 1 are written
  int64_t kv_len;
  const int32_t* page_table;     // [ceil(kv_len / kPageSize)]
  const int32_t* summary_table;  // [ceil(bound pages / kPageSize)]
  PagedKv kv;
};

// The same for a decode step: the bound page of each sequence's last token.
struct PageSummaryRowsParams {
  int batch;
  int num_kv_heads;
  int head_dim;
  const int32_t* page_tables;  // [batch, page_table_stride]
  int64_t page_table_stride;
  const int32_t* summary_tables;  // [batch, summary_table_stride]
  int64_t summary_table_stride;
  const int64_t* kv_lens;  // [batch]
  const uint8_t* active;   // [batch, num_kv_heads]; zero: nothing is written; null: all are
  PagedKv kv;
};

// Ranks bound pages by the upper bound of the mean query and picks the best (algorithm.md, 2,
// `page-bound`): pages with forced tokens first, then the best until floor(budget / 16) pages, ties
// to the lower page; all tokens when kv_len <= budget. Writes the tokens of the chosen pages,
// ascending.
struct PageBoundParams {
  int batch;
  int num_q_heads;
  int num_kv_heads;
  int head_dim;
  const int64_t* kv_lens;  // [batch]
  int64_t max_kv_len;      // the most that kv_lens hold
  const float* q;          // [batch, num_q_heads, head_dim]
  // Pages of the summaries of every bound page; see PageSummaryParams.
  const int32_t* summary_tables;  // [batch, summary_table_stride]
  int64_t summary_table_stride;
  PagedKv kv;
  Selection selection;       // its effective_budget(), sink and recent
  int32_t* token_ids;        // [batch, num_kv_heads, token_ids_stride]
  int64_t token_ids_stride;  // >= page_bound_max_selected(selection, max_kv_len)
  int32_t* num_ids;          // [batch, num_kv_heads]
  void* workspace;           // page_bound_workspace_bytes(params)
  // cuda:: only: [batch, num_kv_heads]; zero: the head's set is left as it is; null: none is.
  const uint8_t* active = nullptr;
};

}  // namespace lychee::attention
