#include "training/layer_pass.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "model/linear_calls.h"
#include "model/rope_frequencies.h"

namespace lychee::training {

template <typename Real>
LayerPass<Real>::LayerPass(const io::ModelConfig& config, const model::ModelWeights& weights,
                           const Kernels<Real>& kernels, int64_t max_rows)
    : config_(config),
      weights_(weights),
      kernels_(kernels),
      q_size_(int64_t{config.num_q_heads} * config.head_dim),
      kv_size_(int64_t{config.num_kv_heads} * config.head_dim) {
  const auto size = [&](std::initializer_list<std::vector<Real>*> buffers, int64_t width) {
    for (std::vector<Real>* buffer : buffers) {
      buffer->resize(static_cast<size_t>(max_rows * width));
    }
  };
  size({&normed_, &d_normed_}, config.hidden_size);
  size({&q_, &d_q_, &attended_}, q_size_);
  size({&k_, &v_, &d_k_, &d_v_}, kv_size_);
  size({&gate_, &up_, &inner_}, config.intermediate_size);
  size({&rope_, &rope_adjoint_}, config.head_dim);
  if (config.qk_norm) {
    size({&raw_q_}, q_size_);
    size({&raw_k_}, kv_size_);
  }
  row_.resize(static_cast<size_t>(config.hidden_size));
}

template <typename Real>
void LayerPass<Real>::fill_rope_row(int64_t row, int64_t position, int64_t length) {
  const model::RopeFrequencies frequencies = model::rope_frequencies(config_, length);
  const auto factor = static_cast<double>(frequencies.attention_factor);
  const int half = config_.head_dim / 2;
  for (int i = 0; i < half; ++i) {
    const double angle = static_cast<double>(position) *
                         static_cast<double>(frequencies.inv_freq[static_cast<size_t>(i)]);
    const auto cosine = static_cast<size_t>(row * config_.head_dim + i);
    const size_t sine = cosine + static_cast<size_t>(half);
    rope_[cosine] = static_cast<Real>(std::cos(angle) * factor);
    rope_[sine] = static_cast<Real>(std::sin(angle) * factor);
    rope_adjoint_[cosine] = rope_[cosine];
    rope_adjoint_[sine] = -rope_[sine];
  }
}

template <typename Real>
void LayerPass<Real>::begin(int64_t num_rows, int64_t first_position, int64_t rope_length) {
  num_rows_ = num_rows;
  for (int64_t row = 0; row < num_rows; ++row) {
    const int64_t position = first_position + row;
    fill_rope_row(row, position, rope_length > 0 ? rope_length : position + 1);
  }
}

template <typename Real>
void LayerPass<Real>::embed(const int32_t* token_ids, Real* x) {
  for (int64_t row = 0; row < num_rows_; ++row) {
    model::embed(weights_.embedding, token_ids[row], config_.hidden_size, row_.data());
    std::copy(row_.begin(), row_.end(), x + row * config_.hidden_size);
  }
}

template <typename Real>
void LayerPass<Real>::linear(const model::LinearWeights& weights, int64_t rows, const Real* x,
                             Real* y, bool accumulate) {
  linear::LinearParamsOf<Real> p = model::linear_params(weights, rows, x, y);
  p.accumulate = accumulate;
  p.workspace = scratch_.take(kernels_.linear_workspace_bytes(p));
  kernels_.linear(p);
}

template <typename Real>
void LayerPass<Real>::linear_backward(const model::LinearWeights& weights, int64_t rows,
                                      const Real* dy, Real* dx, bool accumulate) {
  linear::LinearBackwardParams<Real> p{.num_rows = rows,
                                       .in_features = weights.in_features,
                                       .out_features = weights.out_features,
                                       .dy = dy,
                                       .dy_stride = weights.out_features,
                                       .weight_dtype = weights.dtype,
                                       .weight = weights.weight,
                                       .dx = dx,
                                       .dx_stride = weights.in_features,
                                       .accumulate = accumulate,
                                       .workspace = nullptr};
  p.workspace = scratch_.take(kernels_.linear_backward_workspace_bytes(p));
  kernels_.linear_backward(p);
}

template <typename Real>
void LayerPass<Real>::normalize(const std::vector<float>& weight, int64_t rows, int64_t dim,
                                const Real* x, Real* y) {
  kernels_.rms_norm({.num_rows = rows,
                     .dim = dim,
                     .x = x,
                     .x_stride = dim,
                     .weight = weight.data(),
                     .eps = config_.rms_norm_eps,
                     .y = y,
                     .y_stride = dim});
}

template <typename Real>
void LayerPass<Real>::normalize_backward(const std::vector<float>& weight, int64_t rows,
                                         int64_t dim, const Real* x, const Real* d_y, Real* d_x,
                                         bool accumulate) {
  kernels_.rms_norm_backward({.num_rows = rows,
                              .dim = dim,
                              .x = x,
                              .x_stride = dim,
                              .weight = weight.data(),
                              .eps = config_.rms_norm_eps,
                              .dy = d_y,
                              .dy_stride = dim,
                              .dx = d_x,
                              .dx_stride = dim,
                              .accumulate = accumulate});
}

template <typename Real>
void LayerPass<Real>::rotate(Real* x, int num_heads, const std::vector<Real>& table) {
  kernels_.apply_rope_table({.num_rows = num_rows_,
                             .num_heads = num_heads,
                             .head_dim = config_.head_dim,
                             .x = x,
                             .row_stride = int64_t{num_heads} * config_.head_dim,
                             .table = table.data()});
}

template <typename Real>
void LayerPass<Real>::project(int layer, const Real* x) {
  const model::LayerWeights& weights = weights_.layers[static_cast<size_t>(layer)];
  normalize(weights.attention_norm, num_rows_, config_.hidden_size, x, normed_.data());
  Real* q = config_.qk_norm ? raw_q_.data() : q_.data();
  Real* k = config_.qk_norm ? raw_k_.data() : k_.data();
  linear(weights.q, num_rows_, normed_.data(), q, false);
  linear(weights.k, num_rows_, normed_.data(), k, false);
  linear(weights.v, num_rows_, normed_.data(), v_.data(), false);
  if (config_.qk_norm) {
    normalize(weights.q_norm, num_rows_ * config_.num_q_heads, config_.head_dim, q, q_.data());
    normalize(weights.k_norm, num_rows_ * config_.num_kv_heads, config_.head_dim, k, k_.data());
  }
  rotate(q_.data(), config_.num_q_heads, rope_);
  rotate(k_.data(), config_.num_kv_heads, rope_);
}

template <typename Real>
attention::BlendedAttentionParams<Real> LayerPass<Real>::attention_params(
    const LayerContext<Real>& context, int64_t stride) {
  attention::BlendedAttentionParams<Real> p{};
  p.num_rows = num_rows_;
  p.num_q_heads = config_.num_q_heads;
  p.num_kv_heads = config_.num_kv_heads;
  p.head_dim = config_.head_dim;
  p.scale = 1 / std::sqrt(static_cast<Real>(config_.head_dim));
  p.context_k = context.k.data();
  p.context_v = context.v.data();
  p.context_stride = stride;
  p.q = q_.data();
  p.k = k_.data();
  p.v = v_.data();
  p.out = attended_.data();
  return p;
}

template <typename Real>
void LayerPass<Real>::attend(const attention::BlendedAttentionParams<Real>& params) {
  attention::BlendedAttentionParams<Real> p = params;
  p.workspace = scratch_.take(kernels_.attention_workspace_bytes(p));
  kernels_.attention(p);
}

template <typename Real>
void LayerPass<Real>::add_attention(int layer, const Real* x, Real* mid) {
  if (mid != x) {
    std::copy_n(x, num_rows_ * config_.hidden_size, mid);
  }
  linear(weights_.layers[static_cast<size_t>(layer)].o, num_rows_, attended_.data(), mid, true);
}

template <typename Real>
void LayerPass<Real>::add_mlp(int layer, const Real* mid, Real* out) {
  const model::LayerWeights& weights = weights_.layers[static_cast<size_t>(layer)];
  const int64_t inner = config_.intermediate_size;
  normalize(weights.mlp_norm, num_rows_, config_.hidden_size, mid, normed_.data());
  linear(weights.gate, num_rows_, normed_.data(), gate_.data(), false);
  linear(weights.up, num_rows_, normed_.data(), up_.data(), false);
  kernels_.silu_mul({.num_rows = num_rows_,
                     .dim = inner,
                     .gate = gate_.data(),
                     .up = up_.data(),
                     .gate_stride = inner,
                     .up_stride = inner,
                     .y = inner_.data(),
                     .y_stride = inner});
  if (out != mid) {
    std::copy_n(mid, num_rows_ * config_.hidden_size, out);
  }
  linear(weights.down, num_rows_, inner_.data(), out, true);
}

template <typename Real>
void LayerPass<Real>::final_norm(const Real* x, Real* y) {
  normalize(weights_.final_norm, num_rows_, config_.hidden_size, x, y);
}

template <typename Real>
void LayerPass<Real>::final_norm_backward(const Real* x, const Real* d_y, Real* d_x) {
  normalize_backward(weights_.final_norm, num_rows_, config_.hidden_size, x, d_y, d_x, false);
}

template <typename Real>
void LayerPass<Real>::add_mlp_backward(int layer, const Real* mid, Real* d) {
  const model::LayerWeights& weights = weights_.layers[static_cast<size_t>(layer)];
  normalize(weights.mlp_norm, num_rows_, config_.hidden_size, mid, normed_.data());
  linear(weights.gate, num_rows_, normed_.data(), gate_.data(), false);
  linear(weights.up, num_rows_, normed_.data(), up_.data(), false);
  linear_backward(weights.down, num_rows_, d, inner_.data(), false);
  kernels_.silu_mul_backward({.num_rows = num_rows_,
                              .dim = config_.intermediate_size,
                              .stride = config_.intermediate_size,
                              .gate = gate_.data(),
                              .up = up_.data(),
                              .dy = inner_.data(),
                              .d_gate = gate_.data(),
                              .d_up = up_.data()});
  linear_backward(weights.gate, num_rows_, gate_.data(), d_normed_.data(), false);
  linear_backward(weights.up, num_rows_, up_.data(), d_normed_.data(), true);
  normalize_backward(weights.mlp_norm, num_rows_, config_.hidden_size, mid, d_normed_.data(), d,
                     true);
}

template <typename Real>
void LayerPass<Real>::heads_backward(const model::LayerWeights& layer) {
  rotate(d_q_.data(), config_.num_q_heads, rope_adjoint_);
  rotate(d_k_.data(), config_.num_kv_heads, rope_adjoint_);
  if (config_.qk_norm) {
    normalize_backward(layer.q_norm, num_rows_ * config_.num_q_heads, config_.head_dim,
                       raw_q_.data(), d_q_.data(), d_q_.data(), false);
    normalize_backward(layer.k_norm, num_rows_ * config_.num_kv_heads, config_.head_dim,
                       raw_k_.data(), d_k_.data(), d_k_.data(), false);
  }
}

template <typename Real>
void LayerPass<Real>::add_attention_backward(int layer,
                                             const attention::BlendedAttentionParams<Real>& params,
                                             const Real* x, Real* d, double* d_z, bool gates_only) {
  const model::LayerWeights& weights = weights_.layers[static_cast<size_t>(layer)];
  linear_backward(weights.o, num_rows_, d, attended_.data(), false);
  attention::BlendedAttentionBackwardParams<Real> p{.forward = params,
                                                    .d_out = attended_.data(),
                                                    .d_q = d_q_.data(),
                                                    .d_k = d_k_.data(),
                                                    .d_v = d_v_.data(),
                                                    .d_z = d_z,
                                                    .workspace = nullptr};
  p.workspace = scratch_.take(kernels_.attention_backward_workspace_bytes(p));
  kernels_.attention_backward(p);
  if (gates_only) {
    return;
  }
  heads_backward(weights);
  linear_backward(weights.q, num_rows_, d_q_.data(), d_normed_.data(), false);
  linear_backward(weights.k, num_rows_, d_k_.data(), d_normed_.data(), true);
  linear_backward(weights.v, num_rows_, d_v_.data(), d_normed_.data(), true);
  normalize_backward(weights.attention_norm, num_rows_, config_.hidden_size, x, d_normed_.data(), d,
                     true);
}

template class LayerPass<float>;
template class LayerPass<double>;

}  // namespace lychee::training
