#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/attention/blended_attention.h"
#include "lychee/selection.h"
#include "tensor/scratch.h"
#include "training/kernels.h"

namespace lychee::training {

// Which token set a head's sparse output reads while gates train.
enum class Chain : uint8_t {
  kInference,  // carried per KV head, replaced where z > 0.5; mean-query scores, inference's budget
  kPublished,  // per query head, the top 30 % of the previous layer's own scores
};

[[nodiscard]] std::string_view chain_name(Chain chain);
[[nodiscard]] std::optional<Chain> parse_chain(std::string_view name);

// Sets of one head for all target rows.
struct HeadSets {
  std::vector<int32_t> ids;      // [num_rows, stride]
  std::vector<int32_t> num_ids;  // [num_rows]
  int64_t stride = 0;
};

// The sets that the heads of one layer read; a set that is passed on is shared.
using LayerSets = std::vector<std::shared_ptr<const HeadSets>>;

// The sets of the target rows from layer to layer.
class SetChain {
 public:
  using SelectTokens = void (*)(const attention::SelectTokensParams&);
  using SelectWorkspace = int64_t (*)(const attention::SelectTokensParams&);

  SetChain(Chain chain, const Selection& selection, int num_q_heads, int num_kv_heads, float scale,
           SelectTokens select, SelectWorkspace workspace_bytes);

  // Of the sets selected from now on; the published chain has none.
  void set_budget(int budget);
  // Forgets all sets. Row i has context_len + i + 1 tokens.
  void begin(int64_t num_rows, int64_t context_len);
  // What the next layer's heads read: per KV head, or per query head when published. Empty before
  // the first layer.
  [[nodiscard]] const LayerSets& sets() const { return sets_; }
  [[nodiscard]] bool per_q_head() const { return chain_ == Chain::kPublished; }
  // Where the next layer's scores are wanted, [num_kv_heads], given its gates.
  [[nodiscard]] std::vector<uint8_t> wanted(std::span<const double> z) const;
  // Selects from the scores of one layer (BlendedAttentionParams::scores) where they were wanted.
  void update(const std::vector<uint8_t>& wanted, const float* scores, int64_t scores_stride);

 private:
  [[nodiscard]] std::shared_ptr<const HeadSets> select_head(const float* scores,
                                                            int64_t scores_stride);

  Chain chain_;
  Selection selection_;
  int num_heads_;  // that have sets
  int heads_per_kv_head_;
  float scale_;
  SelectTokens select_;
  SelectWorkspace workspace_bytes_;
  std::vector<int64_t> kv_lens_;  // [num_rows]
  LayerSets sets_;
  Scratch workspace_;
};

}  // namespace lychee::training
