#include "model/cuda_decoder.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>

#include "base/check.h"
#include "base/logging.h"
#include "kernels/activation/silu_mul.h"
#include "kernels/attention/hybrid_decode.h"
#include "kernels/attention/kv_append.h"
#include "kernels/attention/prefill_attention.h"
#include "kernels/attention/score_sets.h"
#include "kernels/attention/select_tokens.h"
#include "kernels/linear/linear.h"
#include "kernels/noise/fill_kv.h"
#include "kernels/norm/rms_norm.h"
#include "kernels/rope/rope.h"
#include "kernels/sampling/sample.h"

namespace lychee::model {

namespace {

// Graphs of step shapes: batches come and go, and lengths double.
constexpr size_t kMaxGraphs = 16;

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

}  // namespace

CudaDecoder::CudaDecoder(const io::ModelFiles& files, KvCache& cache,
                         std::shared_ptr<const Stream> stream, const CudaDecoderOptions& options)
    : config_(files.config),
      options_(options),
      cache_(cache),
      stream_(std::move(stream)),
      host_weights_(load_weights(files)),
      weights_(host_weights_, options.weights, *stream_),
      gemm_(load_gemm()),
      frequencies_(rope_frequencies(files.config, 0)),
      act_(files.config, weights_, rows_of(options.max_rows), options.exact, gemm_.get(), *stream_),
      step_(files.config, cache.layer(0)) {
  require(!config_.mlp_bias, ErrorCode::kUnsupported,
          "a model with biases in its MLP runs on the CPU alone; use --device cpu");
  set_frequencies(0);
  stream_->synchronize();
}

int64_t CudaDecoder::workspace_bytes(const io::ModelConfig& config, int max_rows) {
  // Activations of the widest layer in bf16 and its second half in f32, as prompts want them; then
  // cuBLASLt's own scratch, panels of widened weights and the tables of a step.
  const int64_t wide = int64_t{6} * rows_of(max_rows) * config.intermediate_size;
  constexpr int64_t kScratch = int64_t{256} << 20;
  return CudaActivations::bytes(config, rows_of(max_rows)) + wide + kScratch;
}

void CudaDecoder::set_frequencies(int64_t length) {
  frequencies_ = rope_frequencies(config_, length);
  const std::vector<float>& inv_freq = frequencies_.inv_freq;
  copy_to_device(act_.inv_freq, inv_freq.data(),
                 std::ssize(inv_freq) * static_cast<int64_t>(sizeof(float)), stream_->get());
}

CudaDecoder::Qkv CudaDecoder::qkv_of(int64_t rows, bool q_apart) const {
  const int64_t q_size = int64_t{config_.num_q_heads} * config_.head_dim;
  const int64_t kv_size = int64_t{config_.num_kv_heads} * config_.head_dim;
  float* kv = act_.qkv + (q_apart ? rows * q_size : q_size);
  const int64_t row = q_size + 2 * kv_size;
  return q_apart ? Qkv{act_.qkv, kv, kv + kv_size, q_size, 2 * kv_size}
                 : Qkv{act_.qkv, kv, kv + kv_size, row, row};
}

void CudaDecoder::normalize(const float* weight, int64_t rows) {
  norm::cuda::rms_norm({.num_rows = rows,
                        .dim = config_.hidden_size,
                        .x = act_.x,
                        .x_stride = config_.hidden_size,
                        .weight = weight,
                        .eps = config_.rms_norm_eps,
                        .y = act_.normed,
                        .y_stride = config_.hidden_size},
                       stream_->get());
}

void CudaDecoder::apply(std::span<const linear::DeviceLinearTarget> targets, int64_t rows,
                        const float* x, bool accumulate, bool swiglu) {
  const int64_t in_features = targets.front().weight.in_features;
  linear::cuda::linear({.num_rows = rows,
                        .in_features = in_features,
                        .x = x,
                        .x_stride = in_features,
                        .targets = targets,
                        .accumulate = accumulate,
                        .swiglu = swiglu,
                        .exact = options_.exact,
                        .gemm = gemm_.get(),
                        .workspace = act_.linear_workspace},
                       stream_->get());
}

void CudaDecoder::apply(const CudaLinear& linear, int64_t rows, const float* x, float* y,
                        bool accumulate) {
  const linear::DeviceLinearTarget target{linear.weight, linear.bias, y,
                                          linear.weight.out_features};
  apply({&target, 1}, rows, x, accumulate, false);
}

void CudaDecoder::norm_heads(const float* weight, float* heads, int num_heads, int64_t rows,
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

void CudaDecoder::project_qkv(const CudaLayer& layer, int64_t rows, const Qkv& qkv) {
  normalize(layer.attention_norm, rows);
  const linear::DeviceLinearTarget targets[] = {
      {layer.q.weight, layer.q.bias, qkv.q, qkv.q_stride},
      {layer.k.weight, layer.k.bias, qkv.k, qkv.kv_stride},
      {layer.v.weight, layer.v.bias, qkv.v, qkv.kv_stride}};
  apply(targets, rows, act_.normed, false, false);
  norm_heads(layer.q_norm, qkv.q, config_.num_q_heads, rows, qkv.q_stride);
  norm_heads(layer.k_norm, qkv.k, config_.num_kv_heads, rows, qkv.kv_stride);
  const auto rotate = [&](float* x, int num_heads, int64_t stride) {
    rope::cuda::apply_rope_table({.num_rows = rows,
                                  .num_heads = num_heads,
                                  .head_dim = config_.head_dim,
                                  .x = x,
                                  .row_stride = stride,
                                  .table = act_.rope_table},
                                 stream_->get());
  };
  if (qkv.k == qkv.q + int64_t{config_.num_q_heads} * config_.head_dim) {
    rotate(qkv.q, config_.num_q_heads + config_.num_kv_heads, qkv.q_stride);
  } else {
    rotate(qkv.q, config_.num_q_heads, qkv.q_stride);
    rotate(qkv.k, config_.num_kv_heads, qkv.kv_stride);
  }
}

void CudaDecoder::mlp(const CudaLayer& layer, int64_t rows) {
  normalize(layer.mlp_norm, rows);
  const linear::DeviceLinearTarget targets[] = {
      {layer.gate.weight, layer.gate.bias, act_.gate, config_.intermediate_size},
      {layer.up.weight, layer.up.bias, act_.gate, config_.intermediate_size}};
  apply(targets, rows, act_.normed, false, true);
  apply(layer.down, rows, act_.gate, act_.x, true);
}

void CudaDecoder::make_rope_table(int64_t rows, const int64_t* positions, const float* inv_freq,
                                  float* table) {
  rope::cuda::make_rope_table({.num_rows = rows,
                               .head_dim = config_.head_dim,
                               .positions = positions,
                               .inv_freq = inv_freq,
                               .attention_factor = frequencies_.attention_factor,
                               .table = table},
                              stream_->get());
}

void CudaDecoder::embed(int64_t rows, const int32_t* ids) {
  linear::cuda::embedding({.num_rows = rows,
                           .ids = ids,
                           .weight = weights_.embedding(),
                           .y = act_.x,
                           .y_stride = config_.hidden_size},
                          stream_->get());
}

void CudaDecoder::prefill(std::span<const int32_t> token_ids, int64_t first_position,
                          int64_t rope_length, std::span<const int32_t> pages) {
  const auto rows = std::ssize(token_ids);
  require(rows <= act_.max_rows, ErrorCode::kInternal, "prefill of ", rows, " rows, built for ",
          act_.max_rows);
  const int32_t* page_table = step_.upload_prompt(token_ids, first_position, pages, act_, *stream_);
  if (rope_depends_on_length(config_)) {
    set_frequencies(rope_length);
  }
  embed(rows, act_.ids);
  make_rope_table(rows, act_.positions, act_.inv_freq, act_.rope_table);
  const Qkv qkv = qkv_of(rows, false);
  for (int index = 0; index < config_.num_layers; ++index) {
    const CudaLayer& layer = weights_.layers()[static_cast<size_t>(index)];
    const attention::PagedKv kv = cache_.layer(index);
    project_qkv(layer, rows, qkv);
    attention::cuda::kv_append({.num_tokens = static_cast<int>(rows),
                                .num_kv_heads = config_.num_kv_heads,
                                .head_dim = config_.head_dim,
                                .first_position = first_position,
                                .k = qkv.k,
                                .v = qkv.v,
                                .row_stride = qkv.kv_stride,
                                .page_table = page_table,
                                .kv = kv},
                               stream_->get());
    attention::cuda::prefill_attention(
        {.num_tokens = static_cast<int>(rows),
         .num_q_heads = config_.num_q_heads,
         .num_kv_heads = config_.num_kv_heads,
         .head_dim = config_.head_dim,
         .scale = 1.0F / std::sqrt(static_cast<float>(config_.head_dim)),
         .first_position = first_position,
         .q = qkv.q,
         .q_row_stride = qkv.q_stride,
         .page_table = page_table,
         .kv = kv,
         .out = act_.attended,
         .exact = options_.exact,
         .workspace = nullptr},
        stream_->get());
    apply(layer.o, rows, act_.attended, act_.x, true);
    mlp(layer, rows);
  }
  normalize(weights_.final_norm(), rows);
  decoded_ = false;
  made_rows_ = {};
}

void CudaDecoder::decode(std::span<DecodeRow> rows) {
  const CudaStepPlan plan = plan_cuda_step(rows, config_);
  require(plan.shape.batch <= linear::kMaxDecodeRows, ErrorCode::kInternal, "decode of ",
          plan.shape.batch, " rows");
  if (step_.reserve(plan.shape, *stream_)) {
    graphs_.clear();
  }
  std::vector<float> inv_freq;  // of every row, where its length changes them
  if (rope_depends_on_length(config_)) {
    for (const DecodeRow& row : rows) {
      const std::vector<float> own = rope_frequencies(config_, row.position + 1).inv_freq;
      inv_freq.insert(inv_freq.end(), own.begin(), own.end());
    }
  }
  step_.upload(rows, plan, inv_freq, *stream_);
  graph_of(plan.shape).launch(stream_->get());
  ids_ready_.record(stream_->get());
  decoded_ = true;
  if (plan.shape.counts_ids()) {
    ids_ready_.synchronize();
  }
  const int32_t* num_ids =
      plan.shape.counts_ids() ? step_.places(plan.shape).num_ids_log_host : nullptr;
  for (size_t row = 0; row < rows.size(); ++row) {
    rows[row].tokens_read = tokens_read(rows, row, plan, config_, num_ids);
  }
}

Graph& CudaDecoder::graph_of(const CudaStepShape& shape) {
  const auto it = std::find_if(graphs_.begin(), graphs_.end(),
                               [&](const CachedGraph& cached) { return cached.shape == shape; });
  if (it != graphs_.end()) {
    return it->graph;
  }
  if (graphs_.size() == kMaxGraphs) {
    graphs_.erase(graphs_.begin());
  }
  graphs_.push_back({shape, {}});
  graphs_.back().graph.capture(stream_->get(), [&] { enqueue_step(shape); });
  return graphs_.back().graph;
}

void CudaDecoder::enqueue_step(const CudaStepShape& shape) {
  const CudaStepMemory::Places at = step_.places(shape);
  const int64_t rows = shape.batch;
  embed(rows, at.ids);
  if (rope_depends_on_length(config_)) {
    for (int64_t row = 0; row < rows; ++row) {
      make_rope_table(1, at.positions + row, at.inv_freq + row * config_.head_dim / 2,
                      act_.rope_table + row * config_.head_dim);
    }
  } else {
    make_rope_table(rows, at.positions, act_.inv_freq, act_.rope_table);
  }
  for (const CudaStepShape::Streaming& streaming : shape.streaming) {
    // All heads read the set of the row's head 0.
    const int64_t set = int64_t{streaming.row} * config_.num_kv_heads;
    attention::cuda::write_streaming_sets({.num_rows = 1,
                                           .kv_lens = at.kv_lens + streaming.row,
                                           .selection = streaming.selection,
                                           .token_ids = at.token_ids + set * shape.set_stride,
                                           .token_ids_stride = shape.set_stride,
                                           .num_ids = at.num_ids + set},
                                          stream_->get());
  }
  const Qkv qkv = qkv_of(rows, rows > 1);
  selecting_ = false;
  for (int index = 0; index < config_.num_layers; ++index) {
    const CudaLayer& layer = weights_.layers()[static_cast<size_t>(index)];
    project_qkv(layer, rows, qkv);
    enqueue_attention(shape, at, index, qkv);
    enqueue_selection(shape, at, index);
    apply(layer.o, rows, act_.attended, act_.x, true);
    mlp(layer, rows);
  }
  wait_for_selection();
  if (shape.counts_ids()) {
    copy_to_host(at.num_ids_log_host, at.num_ids_log,
                 config_.num_layers * rows * config_.num_kv_heads * 4, stream_->get());
  }
  normalize(weights_.final_norm(), rows);
  make_logits(0, rows);
}

void CudaDecoder::wait_for_selection() {
  if (selecting_) {
    stream_->wait(join_);
    selecting_ = false;
  }
}

void CudaDecoder::enqueue_attention(const CudaStepShape& shape, const CudaStepMemory::Places& at,
                                    int layer, const Qkv& qkv) {
  const attention::PagedKv kv = cache_.layer(layer);
  attention::cuda::kv_append_rows({.batch = shape.batch,
                                   .num_kv_heads = config_.num_kv_heads,
                                   .head_dim = config_.head_dim,
                                   .k = qkv.k,
                                   .v = qkv.v,
                                   .row_stride = qkv.kv_stride,
                                   .page_tables = at.page_tables,
                                   .page_table_stride = at.page_table_stride,
                                   .kv_lens = at.kv_lens,
                                   .kv = kv},
                                  stream_->get());
  wait_for_selection();
  const int64_t heads = int64_t{shape.batch} * config_.num_kv_heads;
  if (shape.counts_ids()) {
    copy_on_device(at.num_ids_log + layer * heads, at.num_ids, heads * 4, stream_->get());
  }
  attention::HybridDecodeParams p = step_.decode_params(shape);
  p.scale = 1.0F / std::sqrt(static_cast<float>(config_.head_dim));
  p.q = qkv.q;
  p.page_tables = at.page_tables;
  p.kv_lens = at.kv_lens;
  p.kv = kv;
  p.set_of_head = at.set_of_head + layer * heads;
  p.token_ids = at.token_ids;
  p.num_ids = at.num_ids;
  if (shape.selects_in(layer)) {
    p.scores = at.scores;
    p.emit_scores = at.emit_scores + layer * heads;
  }
  p.out = act_.attended;
  p.workspace = at.attention_workspace;
  p.arrivals = at.arrivals;
  attention::cuda::hybrid_decode(p, stream_->get());
}

// The next layer's attention is the first to read the new sets: until then selection runs beside
// the output projection and the MLP.
void CudaDecoder::enqueue_selection(const CudaStepShape& shape, const CudaStepMemory::Places& at,
                                    int layer) {
  if (!shape.selects_in(layer)) {
    return;
  }
  fork_.record(stream_->get());
  side_.wait(fork_);
  const int64_t heads = int64_t{shape.batch} * config_.num_kv_heads;
  const auto index = static_cast<size_t>(layer);
  for (const CudaStepShape::Sum& sum : shape.sums) {
    if (sum.layers[index]) {
      attention::cuda::sum_scores(
          {.batch = 1,
           .num_kv_heads = config_.num_kv_heads,
           .kv_lens = at.kv_lens + sum.row,
           .scores = at.scores + sum.row * config_.num_kv_heads * shape.max_kv_len,
           .scores_stride = shape.max_kv_len},
          side_.get());
    }
  }
  for (size_t i = 0; i < shape.groups.size(); ++i) {
    const CudaStepShape::Group& group = shape.groups[i];
    if (group.selects[index]) {
      attention::SelectTokensParams p = step_.select_params(shape, group.selection);
      p.scores = at.scores;
      p.kv_lens = at.kv_lens;
      p.scale = 1.0F / std::sqrt(static_cast<float>(config_.head_dim));
      p.token_ids = at.token_ids;
      p.num_ids = at.num_ids;
      p.workspace = at.select_workspace;
      p.active = at.active[i] + layer * heads;
      attention::cuda::select_tokens(p, side_.get());
    }
  }
  join_.record(side_.get());
  selecting_ = true;
}

void CudaDecoder::make_logits(int64_t first_row, int64_t rows) {
  apply(weights_.lm_head(), rows, act_.normed + first_row * config_.hidden_size, act_.logits,
        false);
  sampling::cuda::argmax({.num_rows = rows,
                          .vocab_size = options_.sampled_vocab,
                          .logits = act_.logits,
                          .logits_stride = config_.vocab_size,
                          .ids = act_.greedy_ids,
                          .workspace = act_.argmax_workspace},
                         stream_->get());
}

int64_t CudaDecoder::made_row(int64_t first_row, int64_t num_rows) {
  if (decoded_) {
    return first_row;
  }
  const auto [first, count] = made_rows_;
  if (first_row < first || first_row + num_rows > first + count) {
    make_logits(first_row, num_rows);
    ids_ready_.record(stream_->get());
    made_rows_ = {first_row, num_rows};
  }
  return first_row - made_rows_.first;
}

void CudaDecoder::logits(int64_t first_row, int64_t num_rows, float* out) {
  const int64_t row = made_row(first_row, num_rows);
  copy_to_host(out, act_.logits + row * config_.vocab_size,
               num_rows * config_.vocab_size * static_cast<int64_t>(sizeof(float)), stream_->get());
  stream_->synchronize();
}

std::optional<int32_t> CudaDecoder::greedy(int64_t row) {
  const int64_t made = made_row(row, 1);
  ids_ready_.synchronize();
  return act_.greedy_ids[made];
}

void CudaDecoder::fill_noise(int64_t begin, int64_t end, uint64_t seed,
                             std::span<const int32_t> pages) {
  const int32_t* page_table = step_.upload_prompt({}, 0, pages, act_, *stream_);
  for (int layer = 0; layer < config_.num_layers; ++layer) {
    noise::cuda::fill_kv({.num_layers = config_.num_layers,
                          .layer = layer,
                          .num_kv_heads = config_.num_kv_heads,
                          .head_dim = config_.head_dim,
                          .begin = begin,
                          .end = end,
                          .seed = seed,
                          .page_table = page_table,
                          .kv = cache_.layer(layer)},
                         stream_->get());
  }
}

}  // namespace lychee::model
