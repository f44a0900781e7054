#include "training/layer_pass.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>

namespace lychee::training {

template <typename Real>
LayerPass<Real>::LayerPass(const io::ModelConfig& config, Backend<Real>& backend,
                           const PassLimits& limits)
    : config_(config),
      backend_(backend),
      rope_(config, backend, limits.rows, limits.context + limits.rows),
      q_size_(int64_t{config.num_q_heads} * config.head_dim),
      kv_size_(int64_t{config.num_kv_heads} * config.head_dim) {
  const auto size = [&](std::initializer_list<Array<Real>*> arrays, int64_t width) {
    for (Array<Real>* array : arrays) {
      *array = backend.template make<Real>(limits.rows * width);
    }
  };
  size({&normed_, &d_normed_}, config.hidden_size);
  size({&q_, &d_q_, &attended_}, q_size_);
  size({&k_, &v_, &d_k_, &d_v_}, kv_size_);
  size({&gate_, &up_, &inner_}, config.intermediate_size);
  if (config.qk_norm) {
    size({&raw_q_}, q_size_);
    size({&raw_k_}, kv_size_);
  }
  take_scratch(limits);
}

// As much as the largest call wants, so that none has to wait for memory.
template <typename Real>
void LayerPass<Real>::take_scratch(const PassLimits& limits) {
  int64_t most = 0;
  const auto add = [&](const FrozenLinear& weights, int64_t rows) {
    most = std::max({most, backend_.workspace_bytes(linear_params(weights, rows)),
                     backend_.workspace_bytes(linear_backward_params(weights, rows))});
  };
  const FrozenLayer& layer = layer_weights(0);
  for (const FrozenLinear* weights :
       {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down}) {
    add(*weights, limits.rows);
  }
  if (limits.logit_rows > 0) {
    add(backend_.weights().lm_head, limits.logit_rows);
  }
  const attention::RowSets sets;  // workspaces differ by whether there are any
  num_rows_ = limits.rows;
  attention::BlendedAttentionParams<Real> attend = attention_params({}, limits.context);
  attend.context_len = limits.context;
  attend.scores_stride = limits.context + limits.rows;
  for (const bool blended : {false, true}) {
    attend.sets = blended ? &sets : nullptr;
    attention::BlendedAttentionBackwardParams<Real> back{};
    back.forward = attend;
    most = std::max({most, backend_.workspace_bytes(attend), backend_.workspace_bytes(back)});
  }
  scratch_ = backend_.template make<std::byte>(most);
}

template <typename Real>
void* LayerPass<Real>::scratch(int64_t bytes) {
  if (scratch_.size() < bytes) {
    scratch_ = backend_.template make<std::byte>(bytes);
  }
  return scratch_.data();
}

template <typename Real>
void LayerPass<Real>::begin(int64_t num_rows, int64_t first_position, int64_t rope_length) {
  num_rows_ = num_rows;
  rope_.begin(num_rows, first_position, rope_length);
}

template <typename Real>
linear::LinearParamsOf<Real> LayerPass<Real>::linear_params(const FrozenLinear& weights,
                                                            int64_t rows) const {
  return {.num_rows = rows,
          .in_features = weights.in_features,
          .out_features = weights.out_features,
          .x = nullptr,
          .x_stride = weights.in_features,
          .weight_dtype = weights.dtype,
          .weight = weights.weight,
          .bias = weights.bias,
          .y = nullptr,
          .y_stride = weights.out_features,
          .accumulate = false,
          .exact = true,
          .workspace = nullptr};
}

template <typename Real>
linear::LinearBackwardParams<Real> LayerPass<Real>::linear_backward_params(
    const FrozenLinear& weights, int64_t rows) const {
  return {.num_rows = rows,
          .in_features = weights.in_features,
          .out_features = weights.out_features,
          .dy = nullptr,
          .dy_stride = weights.out_features,
          .weight_dtype = weights.dtype,
          .weight = weights.weight,
          .dx = nullptr,
          .dx_stride = weights.in_features,
          .accumulate = false,
          .workspace = nullptr};
}

template <typename Real>
void LayerPass<Real>::linear(const FrozenLinear& weights, int64_t rows, const Real* x, Real* y,
                             bool accumulate) {
  linear::LinearParamsOf<Real> p = linear_params(weights, rows);
  p.x = x;
  p.y = y;
  p.accumulate = accumulate;
  p.workspace = scratch(backend_.workspace_bytes(p));
  backend_.linear(p);
}

template <typename Real>
void LayerPass<Real>::linear_backward(const FrozenLinear& weights, int64_t rows, const Real* dy,
                                      Real* dx, bool accumulate) {
  linear::LinearBackwardParams<Real> p = linear_backward_params(weights, rows);
  p.dy = dy;
  p.dx = dx;
  p.accumulate = accumulate;
  p.workspace = scratch(backend_.workspace_bytes(p));
  backend_.linear_backward(p);
}

template <typename Real>
void LayerPass<Real>::normalize(const float* weight, int64_t rows, int64_t dim, const Real* x,
                                Real* y) {
  backend_.rms_norm({.num_rows = rows,
                     .dim = dim,
                     .x = x,
                     .x_stride = dim,
                     .weight = weight,
                     .eps = config_.rms_norm_eps,
                     .y = y,
                     .y_stride = dim});
}

template <typename Real>
void LayerPass<Real>::normalize_backward(const float* weight, int64_t rows, int64_t dim,
                                         const Real* x, const Real* d_y, Real* d_x,
                                         bool accumulate) {
  backend_.rms_norm_backward({.num_rows = rows,
                              .dim = dim,
                              .x = x,
                              .x_stride = dim,
                              .weight = weight,
                              .eps = config_.rms_norm_eps,
                              .dy = d_y,
                              .dy_stride = dim,
                              .dx = d_x,
                              .dx_stride = dim,
                              .accumulate = accumulate});
}

template <typename Real>
void LayerPass<Real>::rotate(Real* x, int num_heads, const Real* table) {
  backend_.apply_rope_table({.num_rows = num_rows_,
                             .num_heads = num_heads,
                             .head_dim = config_.head_dim,
                             .x = x,
                             .row_stride = int64_t{num_heads} * config_.head_dim,
                             .table = table});
}

template <typename Real>
void LayerPass<Real>::project(int layer, const Real* x) {
  const FrozenLayer& weights = layer_weights(layer);
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
  rotate(q_.data(), config_.num_q_heads, rope_.forward());
  rotate(k_.data(), config_.num_kv_heads, rope_.forward());
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
  p.workspace = scratch(backend_.workspace_bytes(p));
  backend_.attention(p);
}

template <typename Real>
void LayerPass<Real>::add_attention(int layer, const Real* x, Real* mid) {
  if (mid != x) {
    backend_.copy(mid, x, num_rows_ * config_.hidden_size);
  }
  linear(layer_weights(layer).o, num_rows_, attended_.data(), mid, true);
}

template <typename Real>
void LayerPass<Real>::add_mlp(int layer, const Real* mid, Real* out) {
  const FrozenLayer& weights = layer_weights(layer);
  const int64_t inner = config_.intermediate_size;
  normalize(weights.mlp_norm, num_rows_, config_.hidden_size, mid, normed_.data());
  linear(weights.gate, num_rows_, normed_.data(), gate_.data(), false);
  linear(weights.up, num_rows_, normed_.data(), up_.data(), false);
  backend_.silu_mul({.num_rows = num_rows_,
                     .dim = inner,
                     .gate = gate_.data(),
                     .up = up_.data(),
                     .gate_stride = inner,
                     .up_stride = inner,
                     .y = inner_.data(),
                     .y_stride = inner});
  if (out != mid) {
    backend_.copy(out, mid, num_rows_ * config_.hidden_size);
  }
  linear(weights.down, num_rows_, inner_.data(), out, true);
}

template <typename Real>
void LayerPass<Real>::final_norm(const Real* x, Real* y) {
  normalize(backend_.weights().final_norm, num_rows_, config_.hidden_size, x, y);
}

template <typename Real>
void LayerPass<Real>::final_norm_backward(const Real* x, const Real* d_y, Real* d_x) {
  normalize_backward(backend_.weights().final_norm, num_rows_, config_.hidden_size, x, d_y, d_x,
                     false);
}

template <typename Real>
void LayerPass<Real>::add_mlp_backward(int layer, const Real* mid, Real* d) {
  const FrozenLayer& weights = layer_weights(layer);
  normalize(weights.mlp_norm, num_rows_, config_.hidden_size, mid, normed_.data());
  linear(weights.gate, num_rows_, normed_.data(), gate_.data(), false);
  linear(weights.up, num_rows_, normed_.data(), up_.data(), false);
  linear_backward(weights.down, num_rows_, d, inner_.data(), false);
  backend_.silu_mul_backward({.num_rows = num_rows_,
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
void LayerPass<Real>::heads_backward(const FrozenLayer& layer) {
  rotate(d_q_.data(), config_.num_q_heads, rope_.adjoint());
  rotate(d_k_.data(), config_.num_kv_heads, rope_.adjoint());
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
  const FrozenLayer& weights = layer_weights(layer);
  linear_backward(weights.o, num_rows_, d, attended_.data(), false);
  attention::BlendedAttentionBackwardParams<Real> p{.forward = params,
                                                    .d_out = attended_.data(),
                                                    .d_q = d_q_.data(),
                                                    .d_k = d_k_.data(),
                                                    .d_v = d_v_.data(),
                                                    .d_z = d_z,
                                                    .workspace = nullptr};
  p.workspace = scratch(backend_.workspace_bytes(p));
  backend_.attention_backward(p);
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
