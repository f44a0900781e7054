#include "model/cuda_decoder.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "kernels/attention/page_summary.h"
#include "kernels/linear/linear.h"
#include "kernels/noise/fill_kv.h"
#include "model/rope_frequencies.h"

namespace lychee::model {

CudaDecoder::CudaDecoder(const io::ModelFiles& files, KvCache& cache,
                         std::shared_ptr<const Stream> stream, const CudaDecoderOptions& options)
    : config_(files.config),
      cache_(cache),
      stream_(std::move(stream)),
      host_weights_(load_weights(files)),
      layers_(files.config, host_weights_, stream_, options),
      prompt_(files.config, cache, layers_, stream_, options.exact),
      step_(files.config, cache.layer(0)),
      graphs_(files.config, cache, layers_, step_, stream_) {
  if (cache.shape().dtype == DType::kF8E4M3) {
    choose_scales();
  }
}

void CudaDecoder::choose_scales() {
  constexpr int64_t kTokens = 512;
  constexpr uint64_t kSeed = 1;
  const int64_t count =
      std::min({kTokens, int64_t{layers_.activations().max_rows}, config_.context_length,
                cache_.num_pages() * attention::kPageSize});
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t word = noise::random_word(kSeed, static_cast<uint64_t>(i));
    ids.push_back(static_cast<int32_t>(word % static_cast<uint64_t>(config_.vocab_size)));
  }
  PageTable table;
  require(cache_.prepare_write(table, 0, count), ErrorCode::kInternal, "scales of ", count,
          " tokens: no pages");
  choosing_scales_ = true;
  prefill(ids, 0, count, table.pages());
  choosing_scales_ = false;
  stream_->synchronize();
  cache_.truncate(table, 0);
}

void CudaDecoder::prefill(std::span<const int32_t> token_ids, int64_t first_position,
                          int64_t rope_length, std::span<const int32_t> pages) {
  const CudaActivations& act = layers_.activations();
  const auto rows = std::ssize(token_ids);
  require(rows <= act.max_rows, ErrorCode::kInternal, "prefill of ", rows, " rows, built for ",
          act.max_rows);
  const int32_t* page_table =
      step_.upload_prompt(token_ids, first_position, pages, prompt_.max_pages(), act, *stream_);
  if (rope_depends_on_length(config_)) {
    layers_.set_frequencies(rope_length);
  }
  layers_.embed(rows, act.ids);
  layers_.make_rope_table(rows, act.positions, nullptr);
  prompt_.run(rows, first_position, page_table, choosing_scales_);
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
  catch_up_summaries(rows, plan);
  graphs_.launch(plan.shape);
  ids_ready_.record(stream_->get());
  decoded_ = true;
  if (plan.shape.counts_ids()) {
    ids_ready_.synchronize();
  }
  const CudaStepMemory::Places at = step_.places(plan.shape);
  const int32_t* num_ids = plan.shape.counts_ids() ? at.num_ids_log_host : nullptr;
  for (size_t row = 0; row < rows.size(); ++row) {
    rows[row].tokens_read = tokens_read(rows, row, plan, config_, num_ids);
  }
  if (plan.shape.observes_recall) {
    report_recall(rows, plan, config_, at.set_lse_host, at.dense_lse_host, num_ids);
  }
}

void CudaDecoder::catch_up_summaries(std::span<DecodeRow> rows, const CudaStepPlan& plan) {
  const CudaStepMemory::Places at = step_.places(plan.shape);
  for (size_t row = 0; row < rows.size(); ++row) {
    const size_t first_head = row * static_cast<size_t>(config_.num_kv_heads);
    if (plan.tables.ranks_pages.empty() || plan.tables.ranks_pages.back()[first_head] == 0) {
      continue;
    }
    // The page of the step's own token is the step's.
    const auto index = static_cast<int64_t>(row);
    const int64_t num_complete = rows[row].position / attention::kBoundPageSize;
    PageSummaries& summaries = *rows[row].summaries;
    for (int layer = 0; layer < config_.num_layers; ++layer) {
      attention::cuda::page_summary(
          {.num_kv_heads = config_.num_kv_heads,
           .head_dim = config_.head_dim,
           .first_page = summaries.num_complete,
           .kv_len = num_complete * attention::kBoundPageSize,
           .page_table = at.page_tables + index * at.page_table_stride,
           .summary_table = at.summary_tables + index * at.summary_table_stride,
           .kv = cache_.layer(layer)},
          stream_->get());
    }
    summaries.num_complete = (rows[row].position + 1) / attention::kBoundPageSize;
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

std::optional<int32_t> CudaDecoder::draw(int64_t row, const sampling::SampleParams& params,
                                         double uniform) {
  if (params.repetition_penalty != 1) {
    return std::nullopt;
  }
  const int64_t made = made_row(row, 1);
  const int32_t* id = layers_.activations().greedy_ids + made;
  if (params.temperature > 0) {
    id = layers_.draw(made, params, uniform);
    ids_ready_.record(stream_->get());
  }
  ids_ready_.synchronize();
  return *id;
}

void CudaDecoder::fill_noise(int64_t begin, int64_t end, uint64_t seed,
                             std::span<const int32_t> pages) {
  const int32_t* page_table = step_.upload_prompt({}, 0, pages, 0, layers_.activations(), *stream_);
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
