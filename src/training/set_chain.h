#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "io/model_files.h"
#include "kernels/attention/blended_attention.h"
#include "lychee/selection.h"
#include "training/backend.h"

namespace lychee::training {

// Which token set a head's sparse output reads while gates train.
enum class Chain : uint8_t {
  kInference,  // carried per KV head, replaced where z > 0.5; mean-query scores, inference's budget
  kPublished,  // per query head, the top 30 % of the previous layer's own scores
};

[[nodiscard]] std::string_view chain_name(Chain chain);
[[nodiscard]] std::optional<Chain> parse_chain(std::string_view name);

// The token sets of the target rows from layer to layer. Which head gets a new set where follows
// from the gates alone, so that all of it is known before the first layer runs.
template <typename Real>
class SetChain {
 public:
  // `backend` must outlive it. max_len: tokens of the last row at most.
  SetChain(const io::ModelConfig& config, Backend<Real>& backend, Chain chain,
           const Selection& selection, int64_t max_rows, int64_t max_len);

  // Of the sets selected from now on, at most the selection's; the published chain has none.
  void set_budget(int budget);
  // Forgets all sets. Row i has context_len + i + 1 tokens; z: [num_layers, num_kv_heads].
  void begin(int64_t num_rows, int64_t context_len, std::span<const double> z);
  [[nodiscard]] bool per_q_head() const { return chain_ == Chain::kPublished; }
  // What the heads of a layer read, [num_kv_heads], or per query head when published; null for
  // layer 0, which reads everything. The host may follow it, and it lasts until the next begin().
  [[nodiscard]] const attention::RowSets* sets(int layer) const;
  // Where the scores of a layer are wanted, [num_kv_heads], in host memory; null: nowhere.
  [[nodiscard]] const uint8_t* wanted(int layer) const;
  // Selects from a layer's scores (BlendedAttentionParams::scores) where they are wanted, for the
  // layers above it.
  void select(int layer, const float* scores, int64_t scores_stride);

 private:
  // Sets that one layer selects: [num_heads, num_rows, stride] and [num_heads, num_rows].
  struct Selected {
    Array<int32_t> ids;
    Array<int32_t> num_ids;
  };

  [[nodiscard]] bool wants(int layer, int head) const;
  void plan_layer(int layer, std::span<const double> z);
  void send_lengths(int64_t num_rows, int64_t context_len);
  void select_heads(int layer, int first_head, int count, const float* scores,
                    int64_t scores_stride);

  Backend<Real>& backend_;
  Chain chain_;
  Selection selection_;
  int max_budget_;
  int num_layers_;
  int num_kv_heads_;
  int num_heads_;  // that have sets
  float scale_;
  int64_t num_rows_ = 0;
  int64_t context_len_ = -1;
  int64_t stride_ = 0;                    // of the ids
  std::vector<Selected> selected_;        // [num_layers]; the last layer's is empty
  std::vector<uint8_t> wanted_;           // [num_layers, num_kv_heads]
  std::vector<attention::RowSets> sets_;  // [num_layers, num_heads]
  Array<int64_t> kv_lens_;                // [num_heads, num_rows]: the same for all heads
  Array<std::byte> workspace_;
};

}  // namespace lychee::training
