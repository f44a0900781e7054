#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <vector>

#include "io/model_files.h"
#include "kernels/linear/linear.h"
#include "model/decode_attention.h"
#include "model/decoder.h"
#include "model/kv_cache.h"
#include "model/rope_frequencies.h"
#include "tensor/buffer.h"
#include "tensor/scratch.h"

namespace lychee::model {

// The decoder on the CPU. Hidden states of a pass stay for logits() until the next one.
class Transformer final : public Decoder {
 public:
  // `files` must outlive it. max_rows: most prompt tokens per pass. exact: f32 throughout. weights:
  // what matrices are rounded to.
  Transformer(const io::ModelFiles& files, KvCache& cache, int max_rows, bool exact,
              std::optional<DType> weights = std::nullopt);

  // Of its activations.
  [[nodiscard]] static int64_t workspace_bytes(const io::ModelConfig& config, int max_rows);

  void prefill(std::span<const int32_t> token_ids, int64_t first_position, int64_t rope_length,
               std::span<const int32_t> pages) override;
  void decode(std::span<DecodeRow> rows) override;
  void logits(int64_t first_row, int64_t num_rows, float* out) override;
  [[nodiscard]] std::optional<int32_t> draw(int64_t /*row*/,
                                            const sampling::SampleParams& /*params*/,
                                            double /*uniform*/) override {
    return std::nullopt;
  }
  void fill_noise(int64_t begin, int64_t end, uint64_t seed,
                  std::span<const int32_t> pages) override;

  [[nodiscard]] const ModelWeights& weights() const override { return weights_; }

 private:
  void embed_row(int64_t row, int32_t token_id, int64_t position);
  void apply(const LinearWeights& linear, int64_t rows, const float* x, float* y, bool accumulate);
  struct Output {
    const LinearWeights* linear;
    float* y;
  };
  // Several weights over normed_, each to its own contiguous output.
  void apply_group(std::initializer_list<Output> outputs, int64_t rows);
  // Contiguous rows as wide as `weight`.
  void rms_norm(const std::vector<float>& weight, int64_t rows, const float* x, float* y);
  // RMSNorm of x_ into normed_.
  void normalize(const std::vector<float>& weight, int64_t rows);
  void project_qkv(const LayerWeights& layer, int64_t rows);
  // Cosines and sines of positions_[first_row …], for all heads and layers of this pass.
  void fill_rope_table(int64_t first_row, int64_t rows, const RopeFrequencies& frequencies);
  void rotate(int64_t rows);
  // K and V of rows first_row … to the cache, consecutive tokens of one sequence.
  void append(int64_t first_row, int64_t num_tokens, int64_t first_position,
              std::span<const int32_t> pages, const attention::PagedKv& kv);
  void attend_prompt(int64_t rows, int64_t first_position, std::span<const int32_t> pages,
                     const attention::PagedKv& kv);
  void mlp(const LayerWeights& layer, int64_t rows);
  [[nodiscard]] const RopeFrequencies& frequencies(int64_t length);

  const io::ModelConfig& config_;
  ModelWeights weights_;
  KvCache& cache_;
  DecodeAttention decode_attention_;
  RopeFrequencies frequencies_;
  int64_t frequencies_length_ = 0;
  int max_rows_;
  bool exact_;
  int64_t q_size_;   // num_q_heads · head_dim
  int64_t kv_size_;  // num_kv_heads · head_dim
  Buffer memory_;
  float* x_;           // [max_rows, hidden_size], the residual stream
  float* normed_;      // same
  float* q_;           // [max_rows, q_size_]
  float* k_;           // [max_rows, kv_size_]
  float* v_;           // same
  float* attended_;    // [max_rows, q_size_]
  float* gate_;        // [max_rows, intermediate_size]
  float* up_;          // same
  float* rope_table_;  // [max_rows, head_dim]
  std::vector<int64_t> positions_;
  Scratch scratch_;
};

}  // namespace lychee::model
