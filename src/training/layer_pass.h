#pragma once

#include <cstdint>
#include <vector>

#include "io/model_files.h"
#include "model/weights.h"
#include "tensor/scratch.h"
#include "training/kernels.h"

namespace lychee::training {

// K and V of one layer for the tokens before the target: constants of training.
template <typename Real>
struct LayerContext {
  std::vector<Real> k;  // [num_kv_heads, stride, head_dim]
  std::vector<Real> v;  // same
};

// The layers of a frozen decoder for consecutive rows of one sequence, forward and backward.
// Between the two, only the inputs of each half layer are kept (by the caller); the rest is
// computed again. Holds the buffers of one layer.
template <typename Real>
class LayerPass {
 public:
  // `config` and `weights` must outlive it.
  LayerPass(const io::ModelConfig& config, const model::ModelWeights& weights,
            const Kernels<Real>& kernels, int64_t max_rows);

  // Rows stand at first_position …. rope_length: tokens of the prompt they belong to, or 0 for
  // rows that act as decode steps (dynamic RoPE follows each row's own length then).
  void begin(int64_t num_rows, int64_t first_position, int64_t rope_length);

  void embed(const int32_t* token_ids, Real* x);
  // Q, K and V of x, the input of `layer`.
  void project(int layer, const Real* x);
  // Attention over `context`, whose rows are `stride` apart, and the rows themselves. The caller
  // adds gates, sets and scores; without them it is dense.
  [[nodiscard]] attention::BlendedAttentionParams<Real> attention_params(
      const LayerContext<Real>& context, int64_t stride);
  void attend(const attention::BlendedAttentionParams<Real>& params);
  // mid = x + what attention adds; out = mid + what the MLP adds. `mid` may be x, `out` may be mid.
  void add_attention(int layer, const Real* x, Real* mid);
  void add_mlp(int layer, const Real* mid, Real* out);
  void final_norm(const Real* x, Real* y);

  // Adjoints: d is the gradient of what the function wrote, and becomes that of what it read.
  void final_norm_backward(const Real* x, const Real* d_y, Real* d_x);
  void add_mlp_backward(int layer, const Real* mid, Real* d);
  // Gradients by the gates of `layer`, [num_kv_heads]. After project() of the same rows, with the
  // same params as in the forward pass. `d` is that of the residual after attention. With
  // gates_only it is left as it is: nothing below this layer wants a gradient.
  void add_attention_backward(int layer, const attention::BlendedAttentionParams<Real>& params,
                              const Real* x, Real* d, double* d_z, bool gates_only);

  // y = x · weightᵀ (+ bias), for [rows, …] contiguous rows.
  void linear(const model::LinearWeights& weights, int64_t rows, const Real* x, Real* y,
              bool accumulate);
  // dx (+)= dy · weight
  void linear_backward(const model::LinearWeights& weights, int64_t rows, const Real* dy, Real* dx,
                       bool accumulate);

  [[nodiscard]] const Real* k() const { return k_.data(); }  // [rows, num_kv_heads, head_dim]
  [[nodiscard]] const Real* v() const { return v_.data(); }

 private:
  void normalize(const std::vector<float>& weight, int64_t rows, int64_t dim, const Real* x,
                 Real* y);
  void normalize_backward(const std::vector<float>& weight, int64_t rows, int64_t dim,
                          const Real* x, const Real* d_y, Real* d_x, bool accumulate);
  void rotate(Real* x, int num_heads, const std::vector<Real>& table);
  // d_q_ and d_k_ back through RoPE and QK-norm.
  void heads_backward(const model::LayerWeights& layer);
  void fill_rope_row(int64_t row, int64_t position, int64_t length);

  const io::ModelConfig& config_;
  const model::ModelWeights& weights_;
  const Kernels<Real>& kernels_;
  int64_t num_rows_ = 0;
  int64_t q_size_;                         // num_q_heads · head_dim
  int64_t kv_size_;                        // num_kv_heads · head_dim
  std::vector<Real> normed_, d_normed_;    // [max_rows, hidden_size]
  std::vector<Real> q_, k_, v_;            // after QK-norm and RoPE
  std::vector<Real> raw_q_, raw_k_;        // before, with QK-norm only
  std::vector<Real> d_q_, d_k_, d_v_;      // [max_rows, q_size_], [max_rows, kv_size_]
  std::vector<Real> attended_;             // [max_rows, q_size_]
  std::vector<Real> gate_, up_, inner_;    // [max_rows, intermediate_size]
  std::vector<Real> rope_, rope_adjoint_;  // [max_rows, head_dim]
  std::vector<float> row_;                 // of the embedding
  Scratch scratch_;
};

}  // namespace lychee::training
