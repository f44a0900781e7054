#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "io/model_files.h"
#include "kernels/attention/params.h"
#include "model/decode_row.h"
#include "tensor/scratch.h"

namespace lychee::model {

// The attention of one batched decode step, layer by layer: carries the token sets, and turns each
// row's policy into kernel arguments. Reused from step to step; not thread-safe.
class DecodeAttention {
 public:
  explicit DecodeAttention(const io::ModelConfig& config);

  // Starts a step. `rows` must stay alive until its last layer.
  void begin(std::span<DecodeRow> rows);
  // q: [rows, num_q_heads, head_dim]; out: the same shape. K and V of the step's tokens are in
  // `kv`.
  void run_layer(int layer, const attention::PagedKv& kv, const float* q, float* out);

 private:
  struct RowState {
    bool dense;
    int64_t kv_len;
  };

  [[nodiscard]] HeadAction action(size_t row, int layer, int kv_head) const;
  [[nodiscard]] attention::HybridDecodeParams params(const attention::PagedKv& kv, const float* q,
                                                     float* out);
  void copy_page_tables();
  void write_streaming_set(size_t row);
  void rank_pages(size_t row, int layer, const attention::PagedKv& kv, const float* q);
  void replace_sets(size_t row, int layer);
  void select(size_t row, int first_head, int num_heads);
  void observe_recall(size_t row, int layer, const attention::HybridDecodeParams& params);
  void count_read(size_t row, int layer);
  [[nodiscard]] int64_t set_row(size_t row, int kv_head) const {
    return static_cast<int64_t>(row) * num_kv_heads_ + kv_head;
  }

  int num_layers_;
  int num_q_heads_;
  int num_kv_heads_;
  int head_dim_;
  float scale_;

  std::span<DecodeRow> rows_;
  std::vector<RowState> states_;
  std::vector<int64_t> kv_lens_;      // [rows]
  std::vector<int32_t> page_tables_;  // [rows, page_table_stride_]
  int64_t page_table_stride_ = 0;
  int64_t set_stride_ = 0;            // most ids a set of this step can hold
  std::vector<int32_t> token_ids_;    // [rows · num_kv_heads, set_stride_]
  std::vector<int32_t> num_ids_;      // [rows · num_kv_heads]
  std::vector<int32_t> set_of_head_;  // [rows, num_kv_heads]
  std::vector<uint8_t> emit_scores_;  // [rows, num_kv_heads]
  int64_t scores_stride_ = 0;
  std::vector<float> scores_;  // [rows, num_kv_heads, scores_stride_]
  std::vector<float> lse_;     // [rows, num_q_heads]
  Scratch scratch_;
};

}  // namespace lychee::model
