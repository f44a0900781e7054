#pragma once

#include <cstdint>

#include "io/model_files.h"
#include "training/backend.h"
#include "training/rope_tables.h"

namespace lychee::training {

// K and V of one layer for the tokens before the target: constants of training.
template <typename Real>
struct LayerContext {
  Array<Real> k;  // [num_kv_heads, stride, head_dim]
  Array<Real> v;  // same
};

// The most that a LayerPass is asked for.
struct PassLimits {
  int64_t rows = 0;
  int64_t context = 0;     // tokens before them
  int64_t logit_rows = 0;  // of the output matrix at once
};

// The layers of a frozen decoder for consecutive rows of one sequence, forward and backward.
// Between the two, only the inputs of each half layer are kept (by the caller); the rest is
// computed again. Holds the buffers of one layer. All pointers are of the backend's memory.
template <typename Real>
class LayerPass {
 public:
  // `config` and `backend` must outlive it.
  LayerPass(const io::ModelConfig& config, Backend<Real>& backend, const PassLimits& limits);

  // Rows stand at first_position …. rope_length: tokens of the prompt they belong to, or 0 for
  // rows that act as decode steps (dynamic RoPE follows each row's own length then).
  void begin(int64_t num_rows, int64_t first_position, int64_t rope_length);

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
  void linear(const FrozenLinear& weights, int64_t rows, const Real* x, Real* y, bool accumulate);
  // dx (+)= dy · weight
  void linear_backward(const FrozenLinear& weights, int64_t rows, const Real* dy, Real* dx,
                       bool accumulate);

  [[nodiscard]] const Real* k() const { return k_.data(); }  // [rows, num_kv_heads, head_dim]
  [[nodiscard]] const Real* v() const { return v_.data(); }

 private:
  [[nodiscard]] const FrozenLayer& layer_weights(int layer) const {
    return backend_.weights().layers[static_cast<size_t>(layer)];
  }
  void take_scratch(const PassLimits& limits);
  [[nodiscard]] void* scratch(int64_t bytes);
  [[nodiscard]] linear::LinearParamsOf<Real> linear_params(const FrozenLinear& weights,
                                                           int64_t rows) const;
  [[nodiscard]] linear::LinearBackwardParams<Real> linear_backward_params(
      const FrozenLinear& weights, int64_t rows) const;
  void normalize(const float* weight, int64_t rows, int64_t dim, const Real* x, Real* y);
  void normalize_backward(const float* weight, int64_t rows, int64_t dim, const Real* x,
                          const Real* d_y, Real* d_x, bool accumulate);
  void rotate(Real* x, int num_heads, const Real* table);
  // d_q_ and d_k_ back through RoPE and QK-norm.
  void heads_backward(const FrozenLayer& layer);

  const io::ModelConfig& config_;
  Backend<Real>& backend_;
  RopeTables<Real> rope_;
  int64_t num_rows_ = 0;
  int64_t q_size_;                 // num_q_heads · head_dim
  int64_t kv_size_;                // num_kv_heads · head_dim
  Array<Real> normed_, d_normed_;  // [max_rows, hidden_size]
  Array<Real> q_, k_, v_;          // after QK-norm and RoPE
  Array<Real> raw_q_, raw_k_;      // before, with QK-norm only
  Array<Real> d_q_, d_k_, d_v_;    // [max_rows, q_size_], [max_rows, kv_size_]
  Array<Real> attended_;           // [max_rows, q_size_]
  Array<Real> gate_, up_, inner_;  // [max_rows, intermediate_size]
  Array<std::byte> scratch_;
};

}  // namespace lychee::training
