#include "kernels/attention/cpu/prefill_block.h"

#include <algorithm>
#include <limits>
#include <numbers>

#include "base/math.h"
#include "kernels/attention/paged_kv.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/cpu/prefill_block.cc"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set; before highway.h
#include <hwy/highway.h>

#include "kernels/attention/cpu/prefill_panel_inl.h"
#include "kernels/cpu/load_inl.h"

HWY_BEFORE_NAMESPACE();
namespace lychee::attention::cpu::HWY_NAMESPACE {

// Scratch of a block. Query rows are columns here: lanes of a vector hold different queries, so
// that the softmax needs no sums across lanes and neither K nor V is transposed.
struct BlockScratch {
  BlockScratch(float* memory, int64_t columns, int head_dim)
      : k(memory),
        v(k + kTileKeys * head_dim),
        scores(v + kTileKeys * head_dim),
        q(scores + kTileKeys * kMaxPanelColumns),
        acc(q + columns * head_dim),
        max(acc + columns * head_dim),
        sum(max + columns) {}
  float* k;       // [kTileKeys, head_dim]
  float* v;       // [kTileKeys, head_dim]
  float* scores;  // [kTileKeys, columns of a panel]
  float* q;       // panels of [head_dim, columns]
  float* acc;     // panels of [head_dim, columns]
  float* max;     // [columns]
  float* sum;     // [columns]
};

// Widens `count` rows to f32 and zeroes the rest up to a multiple of kPanelRows: a weight of 0
// times whatever an unused slot of the cache holds could be NaN.
template <typename T>
void widen_rows(const T* from, int64_t token_stride, int64_t count, int head_dim, float* to) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::CappedTag<float, 8> d;  // head_dim is a multiple of 8
  for (int64_t row = 0; row < count; ++row) {
    for (int64_t i = 0; i < head_dim; i += static_cast<int64_t>(hn::Lanes(d))) {
      hn::StoreU(lychee::cpu::HWY_NAMESPACE::load_f32(d, from + row * token_stride + i), d,
                 to + row * head_dim + i);
    }
  }
  std::fill(to + count * head_dim, to + round_up<int64_t>(count, kPanelRows) * head_dim, 0.0F);
}

template <typename T>
void widen_tile(const PrefillBlock& block, int64_t first_key, int64_t count,
                const BlockScratch& scratch) {
  const PagedKv& kv = block.params.kv;
  const int64_t at = kv_offset(kv, block.params.page_table, first_key, block.kv_head);
  const int head_dim = block.params.head_dim;
  widen_rows(static_cast<const T*>(kv.k) + at, kv.token_stride, count, head_dim, scratch.k);
  widen_rows(static_cast<const T*>(kv.v) + at, kv.token_stride, count, head_dim, scratch.v);
}

void widen_tile(const PrefillBlock& block, int64_t first_key, int64_t count,
                const BlockScratch& scratch) {
  if (block.params.kv.dtype == DType::kF16) {
    widen_tile<f16>(block, first_key, count, scratch);
  } else if (block.params.kv.dtype == DType::kBF16) {
    widen_tile<bf16>(block, first_key, count, scratch);
  } else {
    widen_tile<float>(block, first_key, count, scratch);
  }
}

// Where query row `row` (token, then head of the group) lies in params.q and params.out.
struct RowAddress {
  int64_t q, out;
};

RowAddress row_address(const PrefillBlock& block, int64_t row) {
  const PrefillAttentionParams& params = block.params;
  const int64_t group_size = params.num_q_heads / params.num_kv_heads;
  const int64_t token = block.first_token + row / group_size;
  const int64_t head = block.kv_head * group_size + row % group_size;
  return {token * params.q_row_stride + head * params.head_dim,
          (token * params.num_q_heads + head) * params.head_dim};
}

void load_queries(const PrefillBlock& block, const Panel& panel) {
  const float scale = block.params.scale * std::numbers::log2e_v<float>;
  std::fill_n(panel.q, panel.columns * block.params.head_dim, 0.0F);
  for (int64_t c = 0; c < panel.rows; ++c) {
    const float* q = block.params.q + row_address(block, panel.first_row + c).q;
    for (int64_t d = 0; d < block.params.head_dim; ++d) {
      panel.q[d * panel.columns + c] = q[d] * scale;
    }
  }
}

void store_outputs(const PrefillBlock& block, const Panel& panel) {
  for (int64_t c = 0; c < panel.rows; ++c) {
    float* out = block.params.out + row_address(block, panel.first_row + c).out;
    const float norm = 1 / panel.sum[c];
    for (int64_t d = 0; d < block.params.head_dim; ++d) {
      out[d] = panel.acc[d * panel.columns + c] * norm;
    }
  }
}

// Calls fn(panel) for all panels: full ones, then one of the vectors that are left.
template <typename Fn>
HWY_INLINE void for_panels(const PrefillBlock& block, const BlockScratch& scratch, const Fn& fn) {
  const hwy::HWY_NAMESPACE::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hwy::HWY_NAMESPACE::Lanes(d));
  const int head_dim = block.params.head_dim;
  const int64_t group_size = block.params.num_q_heads / block.params.num_kv_heads;
  const int64_t num_rows = block.num_tokens * group_size;
  for (int64_t row = 0; row < num_rows; row += kPanelVectors * lanes) {
    const int64_t rows = std::min(num_rows - row, kPanelVectors * lanes);
    fn(Panel{.columns = round_up(rows, lanes),
             .rows = rows,
             .first_row = row,
             .group_size = group_size,
             .head_dim = head_dim,
             .k = scratch.k,
             .v = scratch.v,
             .scores = scratch.scores,
             .q = scratch.q + row * head_dim,
             .acc = scratch.acc + row * head_dim,
             .max = scratch.max + row,
             .sum = scratch.sum + row});
  }
}

void prefill_block_target(const PrefillBlock& block) {
  const PrefillAttentionParams& params = block.params;
  const int64_t num_rows = block.num_tokens * (params.num_q_heads / params.num_kv_heads);
  const int64_t columns = round_up<int64_t>(num_rows, kMaxLanes);
  const BlockScratch scratch(block.scratch, columns, params.head_dim);
  for_panels(block, scratch, [&](const Panel& panel) { load_queries(block, panel); });
  std::fill_n(scratch.acc, columns * params.head_dim, 0.0F);
  std::fill_n(scratch.max, columns, -std::numeric_limits<float>::infinity());
  std::fill_n(scratch.sum, columns, 0.0F);
  const int64_t first_position = params.first_position + block.first_token;
  const int64_t num_keys = first_position + block.num_tokens;
  for (int64_t key = 0; key < num_keys; key += kTileKeys) {
    const int64_t count = std::min<int64_t>(num_keys - key, kTileKeys);
    widen_tile(block, key, count, scratch);
    for_panels(block, scratch, [&](const Panel& panel) {
      // Positions count from the block's first token, which the panel's rows do too.
      attend_tile(panel, key - first_position, count);
    });
  }
  for_panels(block, scratch, [&](const Panel& panel) { store_outputs(block, panel); });
}

}  // namespace lychee::attention::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lychee::attention::cpu {

HWY_EXPORT(prefill_block_target);

int64_t prefill_scratch_floats(int64_t num_rows, int head_dim) {
  const int64_t columns = round_up<int64_t>(num_rows, kMaxLanes);
  return round_up<int64_t>(
      2 * kTileKeys * head_dim + kTileKeys * kMaxPanelColumns + 2 * columns * (head_dim + 1),
      kMaxLanes);
}

void prefill_block(const PrefillBlock& block) {
  HWY_DYNAMIC_DISPATCH(prefill_block_target)(block);
}

}  // namespace lychee::attention::cpu
#endif
