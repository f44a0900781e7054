#include "model/transformer.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/check.h"
#include "base/math.h"
#include "kernels/activation/silu_mul.h"
#include "kernels/attention/kv_append.h"
#include "kernels/attention/prefill_attention.h"
#include "kernels/noise/fill_kv.h"
#include "kernels/norm/rms_norm.h"
#include "kernels/rope/rope.h"

namespace lychee::model {

namespace {

constexpr int64_t kAlign = 16;  // floats of a cache line
constexpr size_t kNumBuffers = 9;

int rows_of(int max_rows) {
  return std::max<int>(max_rows, linear::kMaxDecodeRows);
}

// Floats a row takes in x, normed, q, k, v, attended, gate, up and the RoPE table.
std::array<int64_t, kNumBuffers> buffer_widths(const io::ModelConfig& config) {
  const int64_t q_size = int64_t{config.num_q_heads} * config.head_dim;
  const int64_t kv_size = int64_t{config.num_kv_heads} * config.head_dim;
  return {
      config.hidden_size,       config.hidden_size,       q_size,         kv_size, kv_size, q_size,
      config.intermediate_size, config.intermediate_size, config.head_dim};
}

}  // namespace

int64_t Transformer::workspace_bytes(const io::ModelConfig& config, int max_rows) {
  int64_t total = 0;
  for (const int64_t width : buffer_widths(config)) {
    total += round_up(width * rows_of(max_rows), kAlign);
  }
  return total * static_cast<int64_t>(sizeof(float));
}

Transformer::Transformer(const io::ModelFiles& files, KvCache& cache, int max_rows, bool exact,
                         std::optional<DType> weights)
    : config_(files.config),
      weights_(load_weights(files, weights)),
      cache_(cache),
      decode_attention_(files.config),
      max_rows_(rows_of(max_rows)),
      exact_(exact),
      q_size_(int64_t{config_.num_q_heads} * config_.head_dim),
      kv_size_(int64_t{config_.num_kv_heads} * config_.head_dim),
      memory_(workspace_bytes(config_, max_rows)) {
  float** const buffers[kNumBuffers] = {&x_,        &normed_, &q_,  &k_,         &v_,
                                        &attended_, &gate_,   &up_, &rope_table_};
  const std::array<int64_t, kNumBuffers> widths = buffer_widths(config_);
  auto* next = reinterpret_cast<float*>(memory_.data());
  for (size_t i = 0; i < kNumBuffers; ++i) {
    *buffers[i] = next;
    next += round_up(widths[i] * max_rows_, kAlign);
  }
  positions_.resize(static_cast<size_t>(max_rows_));
  frequencies_ = rope_frequencies(config_, 0);
}

void* Transformer::scratch(int64_t bytes) {
  if (scratch_.bytes() < bytes) {
    scratch_ = Buffer(bytes);
  }
  return scratch_.data();
}

const RopeFrequencies& Transformer::frequencies(int64_t length) {
  if (rope_depends_on_length(config_) && length != frequencies_length_) {
    frequencies_ = rope_frequencies(config_, length);
    frequencies_length_ = length;
  }
  return frequencies_;
}

void Transformer::embed(size_t row, int32_t token_id) {
  const TensorView& table = weights_.embedding;
  const int64_t row_bytes = dtype_bytes(table.dtype, config_.hidden_size);
  linear::dequantize(table.dtype, table.data + token_id * row_bytes, config_.hidden_size,
                     x_ + static_cast<int64_t>(row) * config_.hidden_size);
}

void Transformer::apply(const LinearWeights& linear, int64_t rows, const float* x, float* y,
                        bool accumulate) {
  linear::LinearParams p{.num_rows = rows,
                         .in_features = linear.in_features,
                         .out_features = linear.out_features,
                         .x = x,
                         .x_stride = linear.in_features,
                         .weight_dtype = linear.dtype,
                         .weight = linear.weight,
                         .bias = linear.bias.empty() ? nullptr : linear.bias.data(),
                         .y = y,
                         .y_stride = linear.out_features,
                         .accumulate = accumulate,
                         .exact = exact_,
                         .workspace = nullptr};
  p.workspace = scratch(linear::cpu::linear_workspace_bytes(p));
  linear::cpu::linear(p);
}

void Transformer::apply_group(std::initializer_list<Output> outputs, int64_t rows) {
  constexpr size_t kMaxOutputs = 3;  // Q, K and V
  std::array<linear::LinearTarget, kMaxOutputs> targets;
  size_t count = 0;
  for (const auto& [linear, y] : outputs) {
    targets[count++] = {.out_features = linear->out_features,
                        .weight_dtype = linear->dtype,
                        .weight = linear->weight,
                        .bias = linear->bias.empty() ? nullptr : linear->bias.data(),
                        .y = y,
                        .y_stride = linear->out_features};
  }
  linear::LinearGroupParams p{.num_rows = rows,
                              .in_features = config_.hidden_size,
                              .x = normed_,
                              .x_stride = config_.hidden_size,
                              .targets = std::span(targets).first(count),
                              .accumulate = false,
                              .exact = exact_,
                              .workspace = nullptr};
  p.workspace = scratch(linear::cpu::linear_group_workspace_bytes(p));
  linear::cpu::linear_group(p);
}

void Transformer::normalize(const std::vector<float>& weight, int64_t rows) {
  norm::cpu::rms_norm({.num_rows = rows,
                       .dim = config_.hidden_size,
                       .x = x_,
                       .x_stride = config_.hidden_size,
                       .weight = weight.data(),
                       .eps = config_.rms_norm_eps,
                       .y = normed_,
                       .y_stride = config_.hidden_size});
}

void Transformer::norm_heads(const std::vector<float>& weight, float* heads, int64_t num_heads) {
  if (weight.empty()) {
    return;
  }
  norm::cpu::rms_norm({.num_rows = num_heads,
                       .dim = config_.head_dim,
                       .x = heads,
                       .x_stride = config_.head_dim,
                       .weight = weight.data(),
                       .eps = config_.rms_norm_eps,
                       .y = heads,
                       .y_stride = config_.head_dim});
}

void Transformer::project_qkv(const LayerWeights& layer, int64_t rows) {
  normalize(layer.attention_norm, rows);
  apply_group({{&layer.q, q_}, {&layer.k, k_}, {&layer.v, v_}}, rows);
  norm_heads(layer.q_norm, q_, rows * config_.num_q_heads);
  norm_heads(layer.k_norm, k_, rows * config_.num_kv_heads);
}

void Transformer::fill_rope_table(int64_t first_row, int64_t rows,
                                  const RopeFrequencies& frequencies) {
  rope::cpu::make_rope_table({.num_rows = rows,
                              .head_dim = config_.head_dim,
                              .positions = positions_.data() + first_row,
                              .inv_freq = frequencies.inv_freq.data(),
                              .attention_factor = frequencies.attention_factor,
                              .table = rope_table_ + first_row * config_.head_dim});
}

void Transformer::rotate(int64_t rows) {
  const auto run = [&](float* x, int num_heads, int64_t stride) {
    rope::cpu::apply_rope_table({.num_rows = rows,
                                 .num_heads = num_heads,
                                 .head_dim = config_.head_dim,
                                 .x = x,
                                 .row_stride = stride,
                                 .table = rope_table_});
  };
  run(q_, config_.num_q_heads, q_size_);
  run(k_, config_.num_kv_heads, kv_size_);
}

void Transformer::mlp(const LayerWeights& layer, int64_t rows) {
  normalize(layer.mlp_norm, rows);
  apply_group({{&layer.gate, gate_}, {&layer.up, up_}}, rows);
  activation::cpu::silu_mul({.num_rows = rows,
                             .dim = config_.intermediate_size,
                             .gate = gate_,
                             .up = up_,
                             .gate_stride = config_.intermediate_size,
                             .up_stride = config_.intermediate_size,
                             .y = gate_,
                             .y_stride = config_.intermediate_size});
  apply(layer.down, rows, gate_, x_, true);
}

void Transformer::prefill(std::span<const int32_t> token_ids, int64_t first_position,
                          int64_t rope_length, std::span<const int32_t> pages) {
  const auto rows = static_cast<int64_t>(token_ids.size());
  require(rows <= max_rows_, ErrorCode::kInternal, "prefill of ", rows, " rows, built for ",
          max_rows_);
  for (int64_t row = 0; row < rows; ++row) {
    embed(static_cast<size_t>(row), token_ids[static_cast<size_t>(row)]);
    positions_[static_cast<size_t>(row)] = first_position + row;
  }
  fill_rope_table(0, rows, frequencies(rope_length));
  for (int index = 0; index < config_.num_layers; ++index) {
    const LayerWeights& layer = weights_.layers[static_cast<size_t>(index)];
    project_qkv(layer, rows);
    rotate(rows);
    attention::cpu::kv_append({.num_tokens = static_cast<int>(rows),
                               .num_kv_heads = config_.num_kv_heads,
                               .head_dim = config_.head_dim,
                               .first_position = first_position,
                               .k = k_,
                               .v = v_,
                               .row_stride = kv_size_,
                               .page_table = pages.data(),
                               .kv = cache_.layer(index)});
    attention::PrefillAttentionParams p{
        .num_tokens = static_cast<int>(rows),
        .num_q_heads = config_.num_q_heads,
        .num_kv_heads = config_.num_kv_heads,
        .head_dim = config_.head_dim,
        .scale = 1.0F / std::sqrt(static_cast<float>(config_.head_dim)),
        .first_position = first_position,
        .q = q_,
        .q_row_stride = q_size_,
        .page_table = pages.data(),
        .kv = cache_.layer(index),
        .out = attended_,
        .exact = exact_,
        .workspace = nullptr};
    p.workspace = scratch(attention::cpu::prefill_attention_workspace_bytes(p));
    attention::cpu::prefill_attention(p);
    apply(layer.o, rows, attended_, x_, true);
    mlp(layer, rows);
  }
  normalize(weights_.final_norm, rows);
}

void Transformer::logits(int64_t first_row, int64_t num_rows, float* out) {
  apply(weights_.lm_head, num_rows, normed_ + first_row * config_.hidden_size, out, false);
}

void Transformer::decode(std::span<DecodeRow> rows) {
  const auto num_rows = static_cast<int64_t>(rows.size());
  require(num_rows <= linear::kMaxDecodeRows, ErrorCode::kInternal, "decode of ", num_rows,
          " rows");
  for (size_t row = 0; row < rows.size(); ++row) {
    embed(row, rows[row].token_id);
    positions_[row] = rows[row].position;
    if (rope_depends_on_length(config_)) {
      fill_rope_table(static_cast<int64_t>(row), 1, frequencies(rows[row].position + 1));
    }
  }
  if (!rope_depends_on_length(config_)) {
    fill_rope_table(0, num_rows, frequencies_);
  }
  decode_attention_.begin(rows);
  for (int index = 0; index < config_.num_layers; ++index) {
    const LayerWeights& layer = weights_.layers[static_cast<size_t>(index)];
    const attention::PagedKv kv = cache_.layer(index);
    project_qkv(layer, num_rows);
    rotate(num_rows);
    for (int64_t row = 0; row < num_rows; ++row) {
      const DecodeRow& decode_row = rows[static_cast<size_t>(row)];
      attention::cpu::kv_append({.num_tokens = 1,
                                 .num_kv_heads = config_.num_kv_heads,
                                 .head_dim = config_.head_dim,
                                 .first_position = decode_row.position,
                                 .k = k_ + row * kv_size_,
                                 .v = v_ + row * kv_size_,
                                 .row_stride = kv_size_,
                                 .page_table = decode_row.pages.data(),
                                 .kv = kv});
    }
    decode_attention_.run_layer(index, kv, q_, attended_);
    apply(layer.o, num_rows, attended_, x_, true);
    mlp(layer, num_rows);
  }
  normalize(weights_.final_norm, num_rows);
}

void Transformer::fill_noise(int64_t begin, int64_t end, uint64_t seed,
                             std::span<const int32_t> pages) {
  noise::FillKvParams p{.num_layers = config_.num_layers,
                        .layer = 0,
                        .num_kv_heads = config_.num_kv_heads,
                        .head_dim = config_.head_dim,
                        .begin = begin,
                        .end = end,
                        .seed = seed,
                        .page_table = pages.data(),
                        .kv = {}};
  for (; p.layer < config_.num_layers; ++p.layer) {
    p.kv = cache_.layer(p.layer);
    noise::cpu::fill_kv(p);
  }
}

}  // namespace lychee::model
