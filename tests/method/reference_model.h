#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "lychee/generation.h"
#include "method/reference_weights.h"

namespace lychee::test {

// A whole model in double precision, written from algorithm.md alone: plain loops, one token after
// the other, no blocking, none of the project's kernels. What every backend must agree with.
class ReferenceModel {
 public:
  explicit ReferenceModel(const io::ModelFiles& files) : weights_(load_reference_weights(files)) {}

  [[nodiscard]] const ReferenceWeights& weights() const { return weights_; }
  [[nodiscard]] const io::ModelConfig& config() const { return weights_.config; }

 private:
  ReferenceWeights weights_;
};

// One sequence over a ReferenceModel, which must outlive it. A copy is a fork.
class ReferenceSequence {
 public:
  // `kv_rounding`: the dtype that K and V are rounded to in the cache; none keeps them in double.
  ReferenceSequence(const ReferenceModel& model, GenerationOptions options,
                    std::optional<DType> kv_rounding = std::nullopt);

  void set_options(GenerationOptions options);

  // Feeds prompt tokens; returns the log-probabilities after each, [tokens, vocab].
  std::vector<std::vector<double>> prefill(std::span<const int32_t> token_ids);
  // Feeds one generated token; returns the log-probabilities after it.
  std::vector<double> decode(int32_t token_id);

  [[nodiscard]] int64_t length() const { return static_cast<int64_t>(token_ids_.size()); }
  [[nodiscard]] const DecodeStats& stats() const { return stats_; }
  // The smallest gap at a boundary of a selection so far, as a fraction of the range of the scores.
  // Tests redraw below 1e-5: there another order of summation may choose another set.
  [[nodiscard]] double smallest_gap() const { return smallest_gap_; }
  // Of the last decode step: the token set that every (layer, KV head) read; none where dense.
  [[nodiscard]] const std::vector<std::vector<std::optional<std::vector<int64_t>>>>& sets() const {
    return sets_;
  }
  // Of the last decode step: the softmax mass under dense attention of the set, mean over the
  // group.
  [[nodiscard]] double recall(int layer, int kv_head) const {
    return recall_[static_cast<size_t>(layer)][static_cast<size_t>(kv_head)];
  }

 private:
  using Vector = std::vector<double>;
  using TokenSet = std::optional<std::vector<int64_t>>;  // none: dense
  struct Cache {                                         // of one (layer, KV head)
    std::vector<Vector> k, v;                            // [position][head_dim]
  };

  // One token at `position` through all layers; K and V at `position` are written. `rope_length`
  // decides the frequencies of dynamic RoPE.
  Vector forward(int32_t token_id, int64_t position, int64_t rope_length, bool dense);
  Vector attention(int layer, const Vector& x, int64_t position, int64_t rope_length, bool dense);
  Vector project(const Matrix& matrix, const Vector& norm, const Vector& x, int64_t position,
                 int64_t rope_length) const;
  void store(int layer, const Vector& k, const Vector& v, int64_t position);
  [[nodiscard]] Vector mean_query(const Vector& q, int kv_head) const;
  [[nodiscard]] Vector scores(int layer, int kv_head, const Vector& q, int64_t n) const;
  // What KV head `kv_head` of `layer` reads, `carried_` being what the layers below left.
  TokenSet read_set(int layer, int kv_head, const Vector& q, int64_t n, bool dense);
  TokenSet select_pages(int layer, int kv_head, const Vector& q, int64_t n);
  void update_carried(int layer, const Vector& q, int64_t n);
  Vector attend(int layer, int q_head, const Vector& q, const TokenSet& set, int64_t n,
                double* recall) const;
  void account(int64_t n);
  [[nodiscard]] bool is_retrieval(int layer, int kv_head) const;
  [[nodiscard]] bool is_selecting_layer(int layer) const;
  [[nodiscard]] double round_kv(double value) const;

  const ReferenceModel* model_;
  GenerationOptions options_;
  std::optional<DType> kv_rounding_;
  std::vector<int32_t> token_ids_;
  std::vector<std::vector<Cache>> cache_;    // [layer][kv_head]
  std::vector<TokenSet> carried_;            // [kv_head], T[h] of the step at hand
  std::vector<std::vector<TokenSet>> sets_;  // [layer][kv_head]
  std::vector<std::vector<double>> recall_;  // [layer][kv_head]
  double summary_bytes_ = 0;                 // page summaries read in the step at hand
  int64_t since_correction_ = 0;
  DecodeStats stats_;
  double smallest_gap_ = std::numeric_limits<double>::infinity();
};

// Frequencies of RoPE, [head_dim / 2], and the factor on cos and sin (yarn), for a sequence of
// `length` tokens (dynamic).
struct ReferenceRope {
  std::vector<double> frequencies;
  double attention_factor;
};
[[nodiscard]] ReferenceRope reference_rope(const io::ModelConfig& config, int64_t length);

}  // namespace lychee::test
