#include "model/cuda_decoder.h"

#include <cmath>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "kernels/attention/kv_append.h"
#include "kernels/attention/prefill_attention.h"
#include "kernels/linear/linear.h"
#include "kernels/noise/fill_kv.h"
#include "model/rope_frequencies.h"

namespace lychee::model {

CudaDecoder::CudaDecoder(const io::ModelFiles& files, KvCache& cache,
                         std::shared_ptr<const Stream> stream, const CudaDecoderOptions& options)
    : config_(files.config),
      exact_(options.exact),
      cache_(cache),
      stream_(std::move(stream)),
      host_weights_(load_weights(files)),
      layers_(files.config, host_weights_, stream_, options),
      step_(files.config, cache.layer(0)),
      graphs_(files.config, cache, layers_, step_, stream_) {
  require(!config_.mlp_bias, ErrorCode::kUnsupported,
          "a model with biases in its MLP runs on the CPU alone; use --device cpu");
}

void CudaDecoder::prefill(std::span<const int32_t> token_ids, int64_t first_position,
                          int64_t rope_length, std::span<const int32_t> pages) {
  const CudaActivations& act = layers_.activations();
  const auto rows = std::ssize(token_ids);
  require(rows <= act.max_rows, ErrorCode::kInternal, "prefill of ", rows, " rows, built for ",
          act.max_rows);
  const int32_t* page_table = step_.upload_prompt(token_ids, first_position, pages, act, *stream_);
  if (rope_depends_on_length(config_)) {
    layers_.set_frequencies(rope_length);
  }
  layers_.embed(rows, act.ids);
  layers_.make_rope_table(rows, act.positions, nullptr);
  const CudaLayers::Qkv qkv = layers_.qkv_of(rows, false);
  for (int layer = 0; layer < config_.num_layers; ++layer) {
    layers_.project_qkv(layer, rows, qkv);
    attend_prompt(rows, first_position, page_table, qkv, cache_.layer(layer));
    layers_.add_attention(layer, rows);
    layers_.add_mlp(layer, rows);
  }
  layers_.final_norm(rows);
  decoded_ = false;
  made_rows_ = {};
}

void CudaDecoder::attend_prompt(int64_t rows, int64_t first_position, const int32_t* page_table,
                                const CudaLayers::Qkv& qkv, const attention::PagedKv& kv) {
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
       .out = layers_.activations().attended,
       .exact = exact_,
       .workspace = nullptr},
      stream_->get());
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
  graphs_.launch(plan.shape);
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

int64_t CudaDecoder::made_row(int64_t first_row, int64_t num_rows) {
  if (decoded_) {
    return first_row;
  }
  const auto [first, count] = made_rows_;
  if (first_row < first || first_row + num_rows > first + count) {
    layers_.make_logits(first_row, num_rows);
    ids_ready_.record(stream_->get());
    made_rows_ = {first_row, num_rows};
  }
  return first_row - made_rows_.first;
}

void CudaDecoder::logits(int64_t first_row, int64_t num_rows, float* out) {
  const int64_t row = made_row(first_row, num_rows);
  copy_to_host(out, layers_.activations().logits + row * config_.vocab_size,
               num_rows * config_.vocab_size * static_cast<int64_t>(sizeof(float)), stream_->get());
  stream_->synchronize();
}

std::optional<int32_t> CudaDecoder::greedy(int64_t row) {
  const int64_t made = made_row(row, 1);
  ids_ready_.synchronize();
  return layers_.activations().greedy_ids[made];
}

void CudaDecoder::fill_noise(int64_t begin, int64_t end, uint64_t seed,
                             std::span<const int32_t> pages) {
  const int32_t* page_table = step_.upload_prompt({}, 0, pages, layers_.activations(), *stream_);
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
