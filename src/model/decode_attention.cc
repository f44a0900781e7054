#include "model/decode_attention.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/math.h"
#include "kernels/attention/hybrid_decode.h"
#include "kernels/attention/page_bound.h"
#include "kernels/attention/page_summary.h"
#include "kernels/attention/select_tokens.h"
#include "model/set_recall.h"

namespace lychee::model {

using attention::HybridDecodeParams;
using attention::kBoundPageSize;

DecodeAttention::DecodeAttention(const io::ModelConfig& config)
    : num_layers_(config.num_layers),
      num_q_heads_(config.num_q_heads),
      num_kv_heads_(config.num_kv_heads),
      head_dim_(config.head_dim),
      scale_(1.0F / std::sqrt(static_cast<float>(config.head_dim))) {}

namespace {

int64_t max_set_size(const AttentionPolicy& policy, int64_t kv_len) {
  return policy.policy() == Policy::kPageBound
             ? attention::page_bound_max_selected(policy.selection(), kv_len)
             : max_selected(policy.selection(), kv_len);
}

}  // namespace

void DecodeAttention::begin(std::span<DecodeRow> rows) {
  rows_ = rows;
  states_.clear();
  kv_lens_.clear();
  set_stride_ = 0;
  scores_stride_ = 0;
  for (DecodeRow& row : rows) {
    const int64_t kv_len = row.position + 1;
    const bool dense = row.policy->runs_dense(kv_len);
    states_.push_back({dense, kv_len});
    kv_lens_.push_back(kv_len);
    row.tokens_read = 0;
    if (!dense) {
      set_stride_ = std::max(set_stride_, max_set_size(*row.policy, kv_len));
      scores_stride_ = std::max(scores_stride_, kv_len);
    }
  }
  copy_page_tables();
  const size_t num_sets = rows.size() * static_cast<size_t>(num_kv_heads_);
  const auto grow = [](auto& buffer, size_t size) {
    if (buffer.size() < size) {
      buffer.resize(size);
    }
  };
  grow(token_ids_, num_sets * static_cast<size_t>(set_stride_));
  grow(scores_, num_sets * static_cast<size_t>(scores_stride_));
  num_ids_.assign(num_sets, 0);
  set_of_head_.assign(num_sets, HybridDecodeParams::kDense);
  emit_scores_.assign(num_sets, 0);
  lse_.resize(rows.size() * static_cast<size_t>(num_q_heads_));
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!states_[i].dense && rows[i].policy->starts_with_streaming_set()) {
      write_streaming_set(i);
    }
  }
}

void DecodeAttention::copy_page_tables() {
  int64_t longest = 0;
  for (const int64_t kv_len : kv_lens_) {
    longest = std::max(longest, kv_len);
  }
  page_table_stride_ = ceil_div(longest, int64_t{attention::kPageSize});
  page_tables_.assign(rows_.size() * static_cast<size_t>(page_table_stride_), 0);
  for (size_t i = 0; i < rows_.size(); ++i) {
    std::copy_n(rows_[i].pages.begin(), ceil_div(kv_lens_[i], int64_t{attention::kPageSize}),
                page_tables_.begin() + static_cast<int64_t>(i) * page_table_stride_);
  }
}

// The same set for every head: the first `sink` and the last k - sink positions.
void DecodeAttention::write_streaming_set(size_t row) {
  const Selection& selection = rows_[row].policy->selection();
  const int64_t kv_len = states_[row].kv_len;
  const int64_t budget = effective_budget(selection, kv_len);
  for (int head = 0; head < num_kv_heads_; ++head) {
    const int64_t set = set_row(row, head);
    int32_t* ids = token_ids_.data() + set * set_stride_;
    std::iota(ids, ids + selection.sink, 0);
    std::iota(ids + selection.sink, ids + budget,
              static_cast<int32_t>(kv_len - (budget - selection.sink)));
    num_ids_[static_cast<size_t>(set)] = static_cast<int32_t>(budget);
  }
}

HeadAction DecodeAttention::action(size_t row, int layer, int kv_head) const {
  return states_[row].dense ? HeadAction::kDense : rows_[row].policy->action(layer, kv_head);
}

HybridDecodeParams DecodeAttention::params(const attention::PagedKv& kv, const float* q,
                                           float* out) {
  return {.batch = static_cast<int>(rows_.size()),
          .num_q_heads = num_q_heads_,
          .num_kv_heads = num_kv_heads_,
          .head_dim = head_dim_,
          .scale = scale_,
          .q = q,
          .page_tables = page_tables_.data(),
          .page_table_stride = page_table_stride_,
          .kv_lens = kv_lens_.data(),
          .kv = kv,
          .set_of_head = set_of_head_.data(),
          .token_ids = token_ids_.data(),
          .token_ids_stride = set_stride_,
          .num_ids = num_ids_.data(),
          .scores = scores_.data(),
          .scores_stride = scores_stride_,
          .emit_scores = emit_scores_.data(),
          .out = out,
          .lse = lse_.data(),
          .workspace = nullptr};
}

void DecodeAttention::run_layer(int layer, const attention::PagedKv& kv, const float* q,
                                float* out) {
  for (size_t row = 0; row < rows_.size(); ++row) {
    for (int head = 0; head < num_kv_heads_; ++head) {
      const HeadAction what = action(row, layer, head);
      const bool shared = rows_[row].policy->one_set_for_all_heads();
      const auto entry = static_cast<size_t>(set_row(row, head));
      const bool reads_set = what == HeadAction::kReadSet || what == HeadAction::kPageBound;
      set_of_head_[entry] = reads_set ? static_cast<int32_t>(set_row(row, shared ? 0 : head))
                                      : HybridDecodeParams::kDense;
      emit_scores_[entry] = what == HeadAction::kSelect ? 1 : 0;
    }
    if (action(row, layer, 0) == HeadAction::kPageBound) {
      rank_pages(row, layer, kv, q + row * static_cast<size_t>(num_q_heads_ * head_dim_));
    }
    count_read(row, layer);
  }
  HybridDecodeParams p = params(kv, q, out);
  p.workspace = scratch_.take(attention::cpu::hybrid_decode_workspace_bytes(p));
  attention::cpu::hybrid_decode(p);
  for (size_t row = 0; row < rows_.size(); ++row) {
    if (rows_[row].recall_observer != nullptr && *rows_[row].recall_observer) {
      observe_recall(row, layer, p);
    }
    replace_sets(row, layer);
  }
}

void DecodeAttention::rank_pages(size_t row, int layer, const attention::PagedKv& kv,
                                 const float* q) {
  const int64_t kv_len = states_[row].kv_len;
  PageSummaries& summaries = *rows_[row].summaries;
  const std::span<const int32_t> summary_pages = summaries.table.pages();
  attention::cpu::page_summary({.num_kv_heads = num_kv_heads_,
                                .head_dim = head_dim_,
                                .first_page = summaries.num_complete,
                                .kv_len = kv_len,
                                .page_table = rows_[row].pages.data(),
                                .summary_table = summary_pages.data(),
                                .kv = kv});
  if (layer == num_layers_ - 1) {
    summaries.num_complete = kv_len / kBoundPageSize;
  }
  const int64_t set = set_row(row, 0);
  attention::PageBoundParams p{.batch = 1,
                               .num_q_heads = num_q_heads_,
                               .num_kv_heads = num_kv_heads_,
                               .head_dim = head_dim_,
                               .kv_lens = &kv_len,
                               .max_kv_len = kv_len,
                               .q = q,
                               .summary_tables = summary_pages.data(),
                               .summary_table_stride = std::ssize(summary_pages),
                               .kv = kv,
                               .selection = rows_[row].policy->selection(),
                               .token_ids = token_ids_.data() + set * set_stride_,
                               .token_ids_stride = set_stride_,
                               .num_ids = num_ids_.data() + set,
                               .workspace = nullptr};
  p.workspace = scratch_.take(attention::cpu::page_bound_workspace_bytes(p));
  attention::cpu::page_bound(p);
}

void DecodeAttention::count_read(size_t row, int layer) {
  for (int head = 0; head < num_kv_heads_; ++head) {
    const int32_t set = set_of_head_[static_cast<size_t>(set_row(row, head))];
    const int64_t kv_len = states_[row].kv_len;
    int64_t read = set == HybridDecodeParams::kDense ? kv_len : num_ids_[static_cast<size_t>(set)];
    if (action(row, layer, head) == HeadAction::kPageBound) {
      read += ceil_div(kv_len, int64_t{kBoundPageSize});  // a summary takes the place of a token
    }
    rows_[row].tokens_read += static_cast<double>(read);
  }
}

void DecodeAttention::replace_sets(size_t row, int layer) {
  if (rows_[row].policy->one_set_for_all_heads()) {
    if (action(row, layer, 0) != HeadAction::kSelect) {
      return;
    }
    float* sum = scores_.data() + set_row(row, 0) * scores_stride_;
    for (int head = 1; head < num_kv_heads_; ++head) {
      const float* scores = scores_.data() + set_row(row, head) * scores_stride_;
      for (int64_t i = 0; i < states_[row].kv_len; ++i) {
        sum[i] += scores[i];
      }
    }
    select(row, 0, 1);
    return;
  }
  // Neighbouring heads lie next to each other in scores and sets: one call selects for all of them.
  for (int head = 0; head < num_kv_heads_;) {
    int end = head;
    while (end < num_kv_heads_ && action(row, layer, end) == HeadAction::kSelect) {
      ++end;
    }
    if (end > head) {
      select(row, head, end - head);
    }
    head = end + 1;
  }
}

void DecodeAttention::select(size_t row, int first_head, int num_heads) {
  const int64_t set = set_row(row, first_head);
  const std::vector<int64_t> kv_lens(static_cast<size_t>(num_heads), states_[row].kv_len);
  attention::SelectTokensParams p{.num_rows = num_heads,
                                  .scores = scores_.data() + set * scores_stride_,
                                  .scores_stride = scores_stride_,
                                  .kv_lens = kv_lens.data(),
                                  .selection = rows_[row].policy->selection(),
                                  .scale = scale_,
                                  .token_ids = token_ids_.data() + set * set_stride_,
                                  .token_ids_stride = set_stride_,
                                  .num_ids = num_ids_.data() + set,
                                  .workspace = nullptr};
  p.workspace = scratch_.take(attention::cpu::select_tokens_workspace_bytes(p));
  attention::cpu::select_tokens(p);
}

void DecodeAttention::observe_recall(size_t row, int layer, const HybridDecodeParams& step) {
  const std::vector<double> recalls = set_recalls(step, static_cast<int64_t>(row), scratch_);
  for (int head = 0; head < num_kv_heads_; ++head) {
    const int32_t set = set_of_head_[static_cast<size_t>(set_row(row, head))];
    if (set != HybridDecodeParams::kDense) {
      (*rows_[row].recall_observer)({layer, head, rows_[row].position,
                                     recalls[static_cast<size_t>(head)],
                                     num_ids_[static_cast<size_t>(set)]});
    }
  }
}

}  // namespace lychee::model
