#include "model/cuda_step.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "base/math.h"
#include "kernels/attention/page_bound.h"
#include "kernels/attention/params.h"
#include "model/set_recall.h"

namespace lychee::model {

namespace {

using attention::HybridDecodeParams;

// Below this, graphs for ever shorter sequences would cost more than they save.
constexpr int64_t kMinKvLen = 1024;

bool is_observed(const DecodeRow& row) {
  return row.recall_observer != nullptr && *row.recall_observer;
}

class Planner {
 public:
  Planner(std::span<const DecodeRow> rows, const io::ModelConfig& config)
      : rows_(rows), layers_(config.num_layers), heads_(config.num_kv_heads) {}

  CudaStepPlan plan() {
    CudaStepShape& shape = plan_.shape;
    shape.batch = static_cast<int>(rows_.size());
    shape.max_kv_len = kMinKvLen;
    for (const DecodeRow& row : rows_) {
      shape.max_kv_len =
          std::max(shape.max_kv_len,
                   static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(row.position) + 1)));
    }
    plan_.tables.set_of_head.assign(table_size(), HybridDecodeParams::kDense);
    plan_.tables.emit_scores.assign(table_size(), 0);
    for (size_t row = 0; row < rows_.size(); ++row) {
      add(row);
    }
    return std::move(plan_);
  }

 private:
  [[nodiscard]] size_t table_size() const {
    return static_cast<size_t>(layers_ * heads_) * rows_.size();
  }
  [[nodiscard]] size_t entry(int layer, size_t row, int head) const {
    return (static_cast<size_t>(layer) * rows_.size() + row) * static_cast<size_t>(heads_) +
           static_cast<size_t>(head);
  }

  void add(size_t index) {
    const DecodeRow& row = rows_[index];
    const AttentionPolicy& policy = *row.policy;
    if (policy.runs_dense(row.position + 1)) {
      return;
    }
    CudaStepShape& shape = plan_.shape;
    const Selection& selection = policy.selection();
    const int64_t max_set_size =
        policy.policy() == Policy::kPageBound
            ? attention::page_bound_max_selected(selection, shape.max_kv_len)
            : max_selected(selection, shape.max_kv_len);
    shape.set_stride = std::max(shape.set_stride, max_set_size);
    shape.observes_recall = shape.observes_recall || is_observed(row);
    if (policy.policy() == Policy::kPageBound) {
      add_page_bound(index, selection);
    }
    if (policy.starts_with_streaming_set()) {
      shape.streaming.push_back({static_cast<int>(index), selection});
    }
    // Heads that share a set read that of head 0.
    const bool one_set = policy.one_set_for_all_heads() || policy.starts_with_streaming_set();
    std::vector<bool> selects(static_cast<size_t>(layers_), false);
    for (int layer = 0; layer < layers_; ++layer) {
      for (int head = 0; head < heads_; ++head) {
        const HeadAction action = policy.action(layer, head);
        const size_t at = entry(layer, index, head);
        if (action == HeadAction::kReadSet || action == HeadAction::kPageBound) {
          plan_.tables.set_of_head[at] =
              static_cast<int32_t>(index) * heads_ + (one_set ? 0 : head);
        } else if (action == HeadAction::kSelect) {
          plan_.tables.emit_scores[at] = 1;
          selects[static_cast<size_t>(layer)] = true;
        }
      }
    }
    add_to_group(index, policy, selects);
    if (policy.one_set_for_all_heads()) {
      shape.sums.push_back({static_cast<int>(index), selects});
    }
  }

  void add_page_bound(size_t row, const Selection& selection) {
    std::vector<Selection>& selections = plan_.shape.page_bound;
    std::vector<std::vector<uint8_t>>& ranks = plan_.tables.ranks_pages;
    const std::vector<uint8_t> none(rows_.size() * static_cast<size_t>(heads_), 0);
    if (selections.empty()) {
      ranks.push_back(none);
    }
    const auto found = std::find(selections.begin(), selections.end(), selection);
    const auto alike = static_cast<size_t>(found - selections.begin());
    if (found == selections.end()) {
      selections.push_back(selection);
      ranks.insert(ranks.end() - 1, none);
    }
    for (std::vector<uint8_t>* table : {&ranks[alike], &ranks.back()}) {
      std::fill_n(table->begin() + static_cast<int64_t>(row) * heads_, heads_, uint8_t{1});
    }
  }

  void add_to_group(size_t index, const AttentionPolicy& policy, const std::vector<bool>& selects) {
    if (std::find(selects.begin(), selects.end(), true) == selects.end()) {
      return;
    }
    std::vector<CudaStepShape::Group>& groups = plan_.shape.groups;
    auto group = std::find_if(groups.begin(), groups.end(), [&](const auto& candidate) {
      return candidate.selection == policy.selection();
    });
    if (group == groups.end()) {
      groups.push_back({policy.selection(), std::vector<bool>(selects.size(), false)});
      plan_.tables.active.emplace_back(table_size(), uint8_t{0});
      group = groups.end() - 1;
    }
    std::vector<uint8_t>& active = plan_.tables.active[static_cast<size_t>(group - groups.begin())];
    for (int layer = 0; layer < layers_; ++layer) {
      if (!selects[static_cast<size_t>(layer)]) {
        continue;
      }
      group->selects[static_cast<size_t>(layer)] = true;
      for (int head = 0; head < heads_; ++head) {
        const bool own = !policy.one_set_for_all_heads() || head == 0;
        const size_t at = entry(layer, index, head);
        active[at] = own ? plan_.tables.emit_scores[at] : 0;
      }
    }
  }

  std::span<const DecodeRow> rows_;
  int layers_;
  int heads_;
  CudaStepPlan plan_;
};

// Tokens of a set over `kv_len` tokens, kv_len above the budget.
int64_t set_size(const AttentionPolicy& policy, int64_t kv_len) {
  const Selection& selection = policy.selection();
  if (policy.policy() == Policy::kPageBound) {
    return attention::page_bound_num_selected(selection, kv_len);
  }
  const int64_t budget = effective_budget(selection, kv_len);
  if (selection.mode != SelectMode::kBlock || policy.starts_with_streaming_set()) {
    return budget;
  }
  // The last block holds the current token, so it is in the set; it may be partial.
  const int64_t last = (kv_len - 1) % Selection::kBlockSize + 1;
  return budget - Selection::kBlockSize + last;
}

}  // namespace

CudaStepPlan plan_cuda_step(std::span<const DecodeRow> rows, const io::ModelConfig& config) {
  return Planner(rows, config).plan();
}

bool CudaStepShape::selects_in(int layer) const {
  return std::any_of(groups.begin(), groups.end(),
                     [&](const Group& group) { return group.selects[static_cast<size_t>(layer)]; });
}

bool CudaStepShape::counts_ids() const {
  return observes_recall || std::any_of(groups.begin(), groups.end(), [](const Group& group) {
           return group.selection.mode == SelectMode::kMass ||
                  group.selection.mode == SelectMode::kThreshold;
         });
}

double tokens_read(std::span<const DecodeRow> rows, size_t row, const CudaStepPlan& plan,
                   const io::ModelConfig& config, const int32_t* num_ids) {
  const int64_t kv_len = rows[row].position + 1;
  const auto heads = static_cast<size_t>(config.num_kv_heads);
  double tokens = 0;
  const bool ranks_pages = rows[row].policy->policy() == Policy::kPageBound;
  for (size_t layer = 0; layer < static_cast<size_t>(config.num_layers); ++layer) {
    for (size_t head = 0; head < heads; ++head) {
      const size_t first = layer * rows.size() * heads;
      const int32_t set = plan.tables.set_of_head[first + row * heads + head];
      int64_t read = set == HybridDecodeParams::kDense ? kv_len
                     : num_ids != nullptr              ? num_ids[first + static_cast<size_t>(set)]
                                                       : set_size(*rows[row].policy, kv_len);
      if (ranks_pages && set != HybridDecodeParams::kDense) {
        read += ceil_div(kv_len, int64_t{attention::kBoundPageSize});  // a summary is a K and a V
      }
      tokens += static_cast<double>(read);
    }
  }
  return tokens;
}

void report_recall(std::span<const DecodeRow> rows, const CudaStepPlan& plan,
                   const io::ModelConfig& config, const float* set_lse, const float* dense_lse,
                   const int32_t* num_ids) {
  const auto heads = static_cast<size_t>(config.num_kv_heads);
  const auto group_size = static_cast<size_t>(config.num_q_heads) / heads;
  for (int layer = 0; layer < config.num_layers; ++layer) {
    const size_t first = static_cast<size_t>(layer) * rows.size() * heads;
    for (size_t row = 0; row < rows.size(); ++row) {
      for (size_t head = 0; head < heads && is_observed(rows[row]); ++head) {
        const size_t at = first + row * heads + head;
        const int32_t set = plan.tables.set_of_head[at];
        if (set != HybridDecodeParams::kDense) {
          (*rows[row].recall_observer)({layer, static_cast<int>(head), rows[row].position,
                                        covered_mass({set_lse + at * group_size, group_size},
                                                     {dense_lse + at * group_size, group_size}),
                                        num_ids[first + static_cast<size_t>(set)]});
        }
      }
    }
  }
}

}  // namespace lychee::model
