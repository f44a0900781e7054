#include "model/cuda_layers.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/logging.h"
#include "kernels/linear/linear.h"
#include "kernels/norm/rms_norm.h"
#include "kernels/rope/rope.h"
#include "kernels/sampling/sample.h"

namespace lychee::model {

namespace {

int rows_of(int max_rows) {
  return std::max<int>(max_rows, linear::kMaxDecodeRows);
}

std::unique_ptr<linear::DeviceGemm> load_gemm() {
  try {
    return std::make_unique<linear::DeviceGemm>();
  } catch (const Error& error) {
    log_warn(std::string("prompts will be slow: ") + error.what());
    return nullptr;
  }
}

// Whether its activations may come in bf16, in pieces of 16 bytes.
bool takes_rounded(const CudaLinear& linear) {
  return linear.weight.format != linear::DeviceFormat::kF32 && linear.weight.in_features % 8 == 0;
}

bool all_take_rounded(const CudaWeights& weights) {
  return std::all_of(weights.layers().begin(), weights.layers().end(), [](const CudaLayer& l) {
    return takes_rounded(l.q) && takes_rounded(l.k) && takes_rounded(l.v) && takes_rounded(l.o) &&
           takes_rounded(l.gate) && takes_rounded(l.up) && takes_rounded(l.down);
  });
}

// Rows of y without gaps.
linear::DeviceLinearTarget target_of(const CudaLinear& linear, float* y) {
  return {linear.weight, linear.bias, y, linear.weight.out_features};
}

std::array<linear::DeviceLinearTarget, 3> qkv_targets(const CudaLayer& weights,
                                                      const CudaLayers::Qkv& qkv) {
  return {{{weights.q.weight, weights.q.bias, qkv.q, qkv.q_stride},
           {weights.k.weight, weights.k.bias, qkv.k, qkv.kv_stride},
           {weights.v.weight, weights.v.bias, qkv.v, qkv.kv_stride}}};
}

}  // namespace

CudaLayers::CudaLayers(const io::ModelConfig& config, const ModelWeights& weights,
                       std::shared_ptr<const Stream> stream, const CudaDecoderOptions& options)
    : config_(config),
      options_(options),
      stream_(std::move(stream)),
      weights_(weights, options.weights, *stream_),
      gemm_(load_gemm()),
      rounds_(!options.exact && all_take_rounded(weights_)),
      frequencies_(rope_frequencies(config, 0)),
      act_(config, weights_, rows_of(options.max_rows), options.exact, gemm_.get(), *stream_) {
  set_frequencies(0);
  stream_->synchronize();
}

int64_t CudaLayers::workspace_bytes(const io::ModelConfig& config, int max_rows) {
  // Activations of the widest layer in bf16 and its second half in f32, as prompts want them; then
  // cuBLASLt's own scratch, panels of widened weights and the tables of a step.
  const int64_t wide = int64_t{6} * rows_of(max_rows) * config.intermediate_size;
  constexpr int64_t kScratch = int64_t{256} << 20;
  return CudaActivations::bytes(config, rows_of(max_rows)) + wide + kScratch;
}

const CudaLayer& CudaLayers::layer(int index) const {
  return weights_.layers()[static_cast<size_t>(index)];
}

CudaLayers::Qkv CudaLayers::qkv_of(int64_t rows, bool q_apart) const {
  const int64_t q_size = int64_t{config_.num_q_heads} * config_.head_dim;
  const int64_t kv_size = int64_t{config_.num_kv_heads} * config_.head_dim;
  float* kv = act_.qkv + (q_apart ? rows * q_size : q_size);
  const int64_t row = q_size + 2 * kv_size;
  return q_apart ? Qkv{act_.qkv, kv, kv + kv_size, q_size, 2 * kv_size}
                 : Qkv{act_.qkv, kv, kv + kv_size, row, row};
}

void CudaLayers::set_frequencies(int64_t length) {
  frequencies_ = rope_frequencies(config_, length);
  const std::vector<float>& inv_freq = frequencies_.inv_freq;
  copy_to_device(act_.inv_freq, inv_freq.data(),
                 std::ssize(inv_freq) * static_cast<int64_t>(sizeof(float)), stream_->get());
}

void CudaLayers::make_rope_table(int64_t rows, const int64_t* positions, const float* inv_freq) {
  const int64_t rows_alike = inv_freq == nullptr ? rows : 1;
  for (int64_t row = 0; row < rows; row += rows_alike) {
    rope::cuda::make_rope_table(
        {.num_rows = rows_alike,
         .head_dim = config_.head_dim,
         .positions = positions + row,
         .inv_freq = inv_freq == nullptr ? act_.inv_freq : inv_freq + row * config_.head_dim / 2,
         .attention_factor = frequencies_.attention_factor,
         .table = act_.rope_table + row * config_.head_dim},
        stream_->get());
  }
}

void CudaLayers::embed(int64_t rows, const int32_t* ids) {
  linear::cuda::embedding({.num_rows = rows,
                           .ids = ids,
                           .weight = weights_.embedding(),
                           .y = act_.x,
                           .y_stride = config_.hidden_size},
                          stream_->get());
}

void CudaLayers::normalize(const float* weight, const float* x, int64_t rows) {
  norm::cuda::rms_norm({.num_rows = rows,
                        .dim = config_.hidden_size,
                        .x = x,
                        .x_stride = config_.hidden_size,
                        .weight = weight,
                        .eps = config_.rms_norm_eps,
                        .y = act_.normed,
                        .y_stride = config_.hidden_size},
                       stream_->get());
}

void CudaLayers::norm_heads(const float* weight, float* heads, int num_heads, int64_t rows,
                            int64_t row_stride) {
  if (weight == nullptr) {
    return;
  }
  // Heads of a row lie next to each other, rows need not: head after head then.
  const bool dense = row_stride == int64_t{num_heads} * config_.head_dim || rows == 1;
  const int calls = dense ? 1 : num_heads;
  for (int head = 0; head < calls; ++head) {
    float* x = heads + int64_t{head} * config_.head_dim;
    const int64_t stride = dense ? config_.head_dim : row_stride;
    norm::cuda::rms_norm({.num_rows = dense ? rows * num_heads : rows,
                          .dim = config_.head_dim,
                          .x = x,
                          .x_stride = stride,
                          .weight = weight,
                          .eps = config_.rms_norm_eps,
                          .y = x,
                          .y_stride = stride},
                         stream_->get());
  }
}

void CudaLayers::rotate(float* heads, int num_heads, int64_t rows, int64_t row_stride) {
  rope::cuda::apply_rope_table({.num_rows = rows,
                                .num_heads = num_heads,
                                .head_dim = config_.head_dim,
                                .x = heads,
                                .row_stride = row_stride,
                                .table = act_.rope_table},
                               stream_->get());
}

linear::DeviceLinearParams CudaLayers::linear_params(
    std::span<const linear::DeviceLinearTarget> targets, int64_t rows) const {
  const int64_t in_features = targets.front().weight.in_features;
  return {.num_rows = rows,
          .in_features = in_features,
          .x = nullptr,
          .rounded_x = nullptr,
          .x_stride = in_features,
          .norm = {},
          .targets = targets,
          .accumulate = false,
          .swiglu = false,
          .rounded_swiglu = nullptr,
          .exact = options_.exact,
          .gemm = gemm_.get(),
          .workspace = act_.linear_workspace};
}

void CudaLayers::apply(std::span<const linear::DeviceLinearTarget> targets, int64_t rows,
                       const float* x, bool accumulate, bool swiglu) {
  linear::DeviceLinearParams p = linear_params(targets, rows);
  p.x = x;
  p.accumulate = accumulate;
  p.swiglu = swiglu;
  linear::cuda::linear(p, stream_->get());
}

void CudaLayers::apply(const CudaLinear& linear, int64_t rows, const float* x, float* y,
                       bool accumulate) {
  const linear::DeviceLinearTarget target = target_of(linear, y);
  apply({&target, 1}, rows, x, accumulate, false);
}

void CudaLayers::decode_normed(std::span<const linear::DeviceLinearTarget> targets, int64_t rows,
                               const float* x, const float* norm_weight, bf16* swiglu) {
  linear::DeviceLinearParams p = linear_params(targets, rows);
  p.x = x;
  p.norm = {norm_weight, config_.rms_norm_eps, act_.rounded_normed};
  p.swiglu = swiglu != nullptr;
  p.rounded_swiglu = swiglu;
  linear::cuda::linear(p, stream_->get());
}

void CudaLayers::decode_rounded(const CudaLinear& linear, int64_t rows, const bf16* x, float* y) {
  const linear::DeviceLinearTarget target = target_of(linear, y);
  linear::DeviceLinearParams p = linear_params({&target, 1}, rows);
  p.rounded_x = x;
  p.accumulate = true;
  linear::cuda::linear(p, stream_->get());
}

void CudaLayers::project_qkv(int layer_index, int64_t rows, const Qkv& qkv) {
  const CudaLayer& weights = layer(layer_index);
  const auto targets = qkv_targets(weights, qkv);
  if (decodes_rounded(rows)) {
    decode_normed(targets, rows, act_.x, weights.attention_norm, nullptr);
  } else {
    normalize(weights.attention_norm, act_.x, rows);
    apply(targets, rows, act_.normed, false, false);
  }
}

CudaLayers::HeadNorms CudaLayers::head_norms(int layer_index) const {
  const CudaLayer& weights = layer(layer_index);
  return {weights.q_norm, weights.k_norm};
}

void CudaLayers::norm_qk(int layer_index, int64_t rows, const Qkv& qkv) {
  const HeadNorms norms = head_norms(layer_index);
  norm_heads(norms.q, qkv.q, config_.num_q_heads, rows, qkv.q_stride);
  norm_heads(norms.k, qkv.k, config_.num_kv_heads, rows, qkv.kv_stride);
}

void CudaLayers::rotate_qk(int64_t rows, const Qkv& qkv) {
  if (qkv.k == qkv.q + int64_t{config_.num_q_heads} * config_.head_dim) {
    rotate(qkv.q, config_.num_q_heads + config_.num_kv_heads, rows, qkv.q_stride);
  } else {
    rotate(qkv.q, config_.num_q_heads, rows, qkv.q_stride);
    rotate(qkv.k, config_.num_kv_heads, rows, qkv.kv_stride);
  }
}

void CudaLayers::add_attention(int layer_index, int64_t rows) {
  apply(layer(layer_index).o, rows, act_.attended, act_.x, true);
}

void CudaLayers::add_decoded_attention(int layer_index, int64_t rows) {
  decode_rounded(layer(layer_index).o, rows, act_.rounded_attended, act_.x);
}

void CudaLayers::add_mlp(int layer_index, int64_t rows) {
  const CudaLayer& weights = layer(layer_index);
  const linear::DeviceLinearTarget targets[] = {
      {weights.gate.weight, weights.gate.bias, act_.gate, config_.intermediate_size},
      {weights.up.weight, weights.up.bias, act_.gate, config_.intermediate_size}};
  if (decodes_rounded(rows)) {
    decode_normed(targets, rows, act_.x, weights.mlp_norm, act_.rounded_gate);
    decode_rounded(weights.down, rows, act_.rounded_gate, act_.x);
    return;
  }
  normalize(weights.mlp_norm, act_.x, rows);
  apply(targets, rows, act_.normed, false, true);
  apply(weights.down, rows, act_.gate, act_.x, true);
}

bool CudaLayers::decodes_rounded(int64_t rows) const {
  return rounds_ && rows <= linear::kMaxDeviceDecodeRows;
}

bool CudaLayers::keeps_rounded(int64_t rows) const {
  return rounds_ && rows > linear::kMaxDeviceDecodeRows && gemm_ != nullptr &&
         !config_.mlp_bias &&  // which rounded gates and ups are made without
         config_.head_dim % 8 == 0;
}

void CudaLayers::normalize_rounded(const float* weight, int64_t rows) {
  norm::cuda::rms_norm(norm::RoundedRmsNormParams{.num_rows = rows,
                                                  .dim = config_.hidden_size,
                                                  .x = act_.x,
                                                  .x_stride = config_.hidden_size,
                                                  .weight = weight,
                                                  .eps = config_.rms_norm_eps,
                                                  .y = act_.rounded_normed,
                                                  .y_stride = config_.hidden_size},
                       stream_->get());
}

void CudaLayers::apply_rounded(std::span<const linear::DeviceLinearTarget> targets, int64_t rows,
                               const bf16* x, bool accumulate, bf16* swiglu) {
  const int64_t in_features = targets.front().weight.in_features;
  linear::cuda::prompt_linear({.num_rows = rows,
                               .in_features = in_features,
                               .x = x,
                               .x_stride = in_features,
                               .targets = targets,
                               .accumulate = accumulate,
                               .swiglu = swiglu,
                               .gemm = gemm_.get(),
                               .workspace = act_.linear_workspace},
                              stream_->get());
}

void CudaLayers::project_rounded_qkv(int layer_index, int64_t rows, const Qkv& qkv) {
  const CudaLayer& weights = layer(layer_index);
  normalize_rounded(weights.attention_norm, rows);
  apply_rounded(qkv_targets(weights, qkv), rows, act_.rounded_normed, false, nullptr);
}

void CudaLayers::add_rounded_attention(int layer_index, int64_t rows) {
  const linear::DeviceLinearTarget target = target_of(layer(layer_index).o, act_.x);
  apply_rounded({&target, 1}, rows, act_.rounded_attended, true, nullptr);
}

void CudaLayers::add_rounded_mlp(int layer_index, int64_t rows) {
  const CudaLayer& weights = layer(layer_index);
  normalize_rounded(weights.mlp_norm, rows);
  const linear::DeviceLinearTarget gate_up[] = {{weights.gate.weight, nullptr, nullptr, 0},
                                                {weights.up.weight, nullptr, nullptr, 0}};
  apply_rounded(gate_up, rows, act_.rounded_normed, false, act_.rounded_gate);
  const linear::DeviceLinearTarget target = target_of(weights.down, act_.x);
  apply_rounded({&target, 1}, rows, act_.rounded_gate, true, nullptr);
}

void CudaLayers::make_logits(int64_t first_row, int64_t rows) {
  const CudaLinear& head = weights_.lm_head();
  const float* x = act_.x + first_row * config_.hidden_size;
  if (rows <= linear::kMaxDeviceDecodeRows && !options_.exact && takes_rounded(head)) {
    const linear::DeviceLinearTarget target = target_of(head, act_.logits);
    decode_normed({&target, 1}, rows, x, weights_.final_norm(), nullptr);
  } else {
    normalize(weights_.final_norm(), x, rows);
    apply(head, rows, act_.normed, act_.logits, false);
  }
  sampling::cuda::argmax({.num_rows = rows,
                          .vocab_size = options_.sampled_vocab,
                          .logits = act_.logits,
                          .logits_stride = config_.vocab_size,
                          .ids = act_.greedy_ids,
                          .workspace = act_.argmax_workspace},
                         stream_->get());
}

const int32_t* CudaLayers::draw(int64_t row, const sampling::SampleParams& params, double uniform) {
  sampling::cuda::draw({.vocab_size = options_.sampled_vocab,
                        .logits = act_.logits + row * config_.vocab_size,
                        .best_id = act_.greedy_ids + row,
                        .sampling = params,
                        .uniform = uniform,
                        .id = act_.drawn_id},
                       stream_->get());
  return act_.drawn_id;
}

}  // namespace lychee::model
