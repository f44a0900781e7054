#pragma once

#include <cstdint>
#include <vector>

#include "lychee/generation.h"

namespace lychee::model {

// What one KV head does in one layer of a decode step.
enum class HeadAction : uint8_t {
  kDense,      // reads all tokens
  kSelect,     // reads all tokens, and its scores replace the token set it carried
  kReadSet,    // reads the token set it carries
  kPageBound,  // reads the pages that their summaries rank best
};

// The decoding policy of one sequence, worked out for one model: who reads what, layer by layer.
// Kernels know nothing of it. Immutable.
class AttentionPolicy {
 public:
  // Throws Error(kInvalidArgument) where the options contradict the model or themselves.
  AttentionPolicy(const GenerationOptions& options, int num_layers, int num_kv_heads);

  [[nodiscard]] Policy policy() const { return policy_; }
  [[nodiscard]] const Selection& selection() const { return selection_; }
  [[nodiscard]] HeadAction action(int layer, int kv_head) const {
    const int index = layer * num_kv_heads_ + kv_head;
    return actions_[static_cast<size_t>(index)];
  }
  // kLayerShared: scores are summed over the KV heads, and all heads carry the one set.
  [[nodiscard]] bool one_set_for_all_heads() const { return policy_ == Policy::kLayerShared; }
  // kStreaming and kDuo: the set is the first `sink` and the last k - sink positions.
  [[nodiscard]] bool starts_with_streaming_set() const {
    return policy_ == Policy::kStreaming || policy_ == Policy::kDuo;
  }
  // Whether a step over `kv_len` tokens runs dense: by policy, below the crossover, or because
  // every token set would hold everything.
  [[nodiscard]] bool runs_dense(int64_t kv_len) const;
  [[nodiscard]] bool automatic_dense(int64_t kv_len) const { return kv_len <= dense_below_; }

 private:
  Policy policy_;
  Selection selection_;
  int64_t dense_below_;
  int num_kv_heads_;
  std::vector<HeadAction> actions_;  // [num_layers, num_kv_heads]
};

}  // namespace lychee::model
