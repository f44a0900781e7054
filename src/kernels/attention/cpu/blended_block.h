#pragma once

#include <cstdint>

#include "kernels/attention/blended_attention.h"

namespace lychee::attention::cpu {

// The unit of work of blended attention: some rows of one KV head, all query heads of its group.
class BlendedBlock {
 public:
  using Params = BlendedAttentionParams<float>;

  // Rows per block: enough query rows to fill a matrix product, few enough that their scores stay
  // in L2.
  [[nodiscard]] static int64_t rows_per_block(const Params& p);
  [[nodiscard]] static int64_t num_blocks(const Params& p);
  // Of the matrices of scores: 1 forward over all tokens, 2 with token sets, 3 backward.
  [[nodiscard]] static int64_t scratch_floats(const Params& p, int64_t matrices);

  // `scratch`: scratch_floats(…).
  BlendedBlock(const Params& p, int64_t block, int kv_head, float* scratch);

  void forward();
  // Gradients of the target rows' K and V go to `d_k` and `d_v`, [first_row + rows, head_dim],
  // overwritten. Returns this block's part of d_z.
  [[nodiscard]] double backward(const BlendedAttentionBackwardParams<float>& b, float* d_k,
                                float* d_v);

 private:
  [[nodiscard]] int64_t kv_len(int64_t query) const;  // of one of the block's query rows
  [[nodiscard]] int64_t num_target_keys() const { return first_row_ + rows_; }
  void gather_queries(const float* from, float* to) const;
  void scatter_queries(const float* from, float* to) const;
  // product = rows · keysᵀ, over all keys that a row of the block may read.
  void multiply_keys(const float* rows, const float* context, const float* target,
                     float* product) const;
  // out = weights · values
  void multiply_values(const float* weights, const float* context, const float* target,
                       float* out) const;
  void emit_scores(const float* scores) const;
  // Turns scores, in `dense`, into the weights over all tokens and, if wanted, over the sets.
  void find_weights(float* dense, float* sparse, bool with_sets);
  void fill_bias(const RowSets& sets, int64_t row);

  const Params& p_;
  int kv_head_;
  int group_size_;
  int64_t first_row_;
  int64_t rows_;
  int64_t queries_;  // rows_ · group_size_
  int64_t width_;    // columns of a matrix of scores
  float* q_;         // [queries_, head_dim]
  float* out_;       // same
  float* bias_;      // [width_]
  float* matrices_;  // [1 … 3, queries_, width_]
};

}  // namespace lychee::attention::cpu
