#include "model/cuda_step.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "kernels/attention/params.h"

namespace lychee::model {

namespace {

using attention::HybridDecodeParams;

// Below this, graphs for ever shorter sequences would cost more than they save.
constexpr int64_t kMinKvLen = 1024;

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
    require(row.recall_observer == nullptr || !*row.recall_observer, ErrorCode::kUnsupported,
            "recall is observed on the CPU alone; use --device cpu");
    require(policy.policy() != Policy::kPageBound, ErrorCode::kUnsupported,
            "policy page-bound runs on the CPU alone; use --device cpu");
    if (policy.runs_dense(row.position + 1)) {
      return;
    }
    CudaStepShape& shape = plan_.shape;
    shape.set_stride =
        std::max(shape.set_stride, max_selected(policy.selection(), shape.max_kv_len));
    if (policy.starts_with_streaming_set()) {
      shape.streaming.push_back({static_cast<int>(index), policy.selection()});
    }
    // Heads that share a set read that of head 0.
    const bool one_set = policy.one_set_for_all_heads() || policy.starts_with_streaming_set();
    std::vector<bool> selects(static_cast<size_t>(layers_), false);
    for (int layer = 0; layer < layers_; ++layer) {
      for (int head = 0; head < heads_; ++head) {
        const HeadAction action = policy.action(layer, head);
        const size_t at = entry(layer, index, head);
        if (action == HeadAction::kReadSet) {
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
  return std::any_of(groups.begin(), groups.end(), [](const Group& group) {
    return group.selection.mode == SelectMode::kMass ||
           group.selection.mode == SelectMode::kThreshold;
  });
}

double tokens_read(std::span<const DecodeRow> rows, size_t row, const CudaStepPlan& plan,
                   const io::ModelConfig& config, const int32_t* num_ids) {
  const int64_t kv_len = rows[row].position + 1;
  const auto heads = static_cast<size_t>(config.num_kv_heads);
  double tokens = 0;
  for (size_t layer = 0; layer < static_cast<size_t>(config.num_layers); ++layer) {
    for (size_t head = 0; head < heads; ++head) {
      const size_t first = layer * rows.size() * heads;
      const int32_t set = plan.tables.set_of_head[first + row * heads + head];
      const int64_t read = set == HybridDecodeParams::kDense ? kv_len
                           : num_ids != nullptr ? num_ids[first + static_cast<size_t>(set)]
                                                : set_size(*rows[row].policy, kv_len);
      tokens += static_cast<double>(read);
    }
  }
  return tokens;
}

}  // namespace lychee::model
