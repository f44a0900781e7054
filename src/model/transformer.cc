#include "model/transformer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>

#include "base/check.h"
#include "base/math.h"
#include "kernels/activation/silu_mul.h"
#include "kernels/attention/kv_append.h"
#include "kernels/attention/prefill_attention.h"
#include "kernels/noise/fill_kv.h"
#include "kernels/norm/rms_norm.h"
#include "kernels/rope/rope.h"
#include "model/linear_calls.h"

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

const RopeFrequencies& Transformer::frequencies(int64_t length) {
  if (rope_depends_on_length(config_) && length != frequencies_length_) {
    frequencies_ = rope_frequencies(config_, length);
    frequencies_length_ = length;
  }
  return frequencies_;
}

void Transformer::embed_row(int64_t row, int32_t token_id, int64_t position) {
  embed(weights_.embedding, token_id, config_.hidden_size, x_ + row * config_.hidden_size);
  positions_[static_cast<size_t>(row)] = position;
}

void Transformer::apply(const LinearWeights& linear, int64_t rows, const float* x, float* y,
                        bool accumulate) {
  linear::LinearParams p = linear_params(linear, rows, x, y);
  p.accumulate = accumulate;
  p.exact = exact_;
  p.workspace = scratch_.take(linear::cpu::linear_workspace_bytes(p));
  linear::cpu::linear(p);
}

void Transformer::apply_group(std::initializer_list<Output> outputs, int64_t rows) {
  constexpr size_t kMaxOutputs = 3;  // Q, K and V
  std::array<linear::LinearTarget, kMaxOutputs> targets;
  size_t count = 0;
  for (const auto& [linear, y] : outputs) {
    targets[count++] = linear_target(*linear, y);
  }
  linear::LinearGroupParams p{.num_rows = rows,
                              .in_features = config_.hidden_size,
                              .x = normed_,
                              .x_stride = config_.hidden_size,
                              .targets = std::span(targets).first(count),
                              .accumulate = false,
                              .exact = exact_,
                              .workspace = nullptr};
  p.workspace = scratch_.take(linear::cpu::linear_group_workspace_bytes(p));
  linear::cpu::linear_group(p);
}

void Transformer::rms_norm(const std::vector<float>& weight, int64_t rows, const float* x,
                           float* y) {
  const auto dim = std::ssize(weight);
  norm::cpu::rms_norm({.num_rows = rows,
                       .dim = dim,
                       .x = x,
                       .x_stride = dim,
                       .weight = weight.data(),
                       .eps = config_.rms_norm_eps,
                       .y = y,
                       .y_stride = dim});
}

void Transformer::normalize(const std::vector<float>& weight, int64_t rows) {
  rms_norm(weight, rows, x_, normed_);
}

void Transformer::project_qkv(const LayerWeights& layer, int64_t rows) {
  normalize(layer.attention_norm, rows);
  apply_group({{&layer.q, q_}, {&layer.k, k_}, {&layer.v, v_}}, rows);
  if (config_.qk_norm) {
    rms_norm(layer.q_norm, rows * config_.num_q_heads, q_, q_);
    rms_norm(layer.k_norm, rows * config_.num_kv_heads, k_, k_);
  }
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
    embed_row(row, token_ids[static_cast<size_t>(row)], first_position + row);
  }
  fill_rope_table(0, rows, frequencies(rope_length));
  for (int index = 0; index < config_.num_layers; ++index) {
    const LayerWeights& layer = weights_.layers[static_cast<size_t>(index)];
    project_qkv(layer, rows);
    rotate(rows);
    append(0, rows, first_position, pages, cache_.layer(index));
    attend_prompt(rows, first_position, pages, cache_.layer(index));
    apply(layer.o, rows, attended_, x_, true);
    mlp(layer, rows);
  }
  normalize(weights_.final_norm, rows);
}

void Transformer::append(int64_t first_row, int64_t num_tokens, int64_t first_position,
                         std::span<const int32_t> pages, const attention::PagedKv& kv) {
  attention::cpu::kv_append({.num_tokens = static_cast<int>(num_tokens),
                             .num_kv_heads = config_.num_kv_heads,
                             .head_dim = config_.head_dim,
                             .first_position = first_position,
                             .k = k_ + first_row * kv_size_,
                             .v = v_ + first_row * kv_size_,
                             .row_stride = kv_size_,
                             .page_table = pages.data(),
                             .kv = kv});
}

void Transformer::attend_prompt(int64_t rows, int64_t first_position,
                                std::span<const int32_t> pages, const attention::PagedKv& kv) {
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
      .kv = kv,
      .out = attended_,
      .exact = exact_,
      .workspace = nullptr};
  p.workspace = scratch_.take(attention::cpu::prefill_attention_workspace_bytes(p));
  attention::cpu::prefill_attention(p);
}

void Transformer::logits(int64_t first_row, int64_t num_rows, float* out) {
  apply(weights_.lm_head, num_rows, normed_ + first_row * config_.hidden_size, out, false);
}

void Transformer::decode(std::span<DecodeRow> rows) {
  const auto num_rows = static_cast<int64_t>(rows.size());
  require(num_rows <= linear::kMaxDecodeRows, ErrorCode::kInternal, "decode of ", num_rows,
          " rows");
  for (size_t row = 0; row < rows.size(); ++row) {
    embed_row(static_cast<int64_t>(row), rows[row].token_id, rows[row].position);
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
      append(row, 1, decode_row.position, decode_row.pages, kv);
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
