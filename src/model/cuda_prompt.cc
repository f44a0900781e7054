#include "model/cuda_prompt.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/logging.h"
#include "base/math.h"
#include "kernels/attention/kv_append.h"
#include "kernels/attention/kv_scales.h"
#include "kernels/attention/prefill_attention.h"
#include "kernels/attention/rotate_append.h"

namespace lychee::model {

namespace {

float attention_scale(const io::ModelConfig& config) {
  return 1.0F / std::sqrt(static_cast<float>(config.head_dim));
}

}  // namespace

CudaPrompt::CudaPrompt(const io::ModelConfig& config, KvCache& cache, CudaLayers& layers,
                       std::shared_ptr<const Stream> stream, bool exact)
    : config_(config),
      cache_(cache),
      layers_(layers),
      stream_(std::move(stream)),
      exact_(exact),
      max_pages_(std::min<int64_t>(ceil_div<int64_t>(config.context_length, attention::kPageSize),
                                   cache.num_pages())) {}

void CudaPrompt::run(int64_t rows, int64_t first_position, const int32_t* page_table,
                     bool choose_scales) {
  const CudaLayers::Qkv qkv = layers_.qkv_of(rows, false);
  const bool rounded = layers_.keeps_rounded(rows);
  attention::FusedAttention* const fused =
      rounded ? fused_attention(rows, first_position + rows) : nullptr;
  for (int layer = 0; layer < config_.num_layers; ++layer) {
    rounded ? layers_.project_rounded_qkv(layer, rows, qkv) : layers_.project_qkv(layer, rows, qkv);
    layers_.norm_qk(layer, rows, qkv);
    if (fused != nullptr) {
      attend_fused(*fused, layer, rows, first_position, page_table, qkv);
      layers_.add_rounded_attention(layer, rows);
    } else {
      layers_.rotate_qk(rows, qkv);
      if (choose_scales) {
        set_scales(layer, rows, qkv);
      }
      attend(layer, rows, first_position, page_table, qkv);
      layers_.add_attention(layer, rows);
    }
    rounded ? layers_.add_rounded_mlp(layer, rows) : layers_.add_mlp(layer, rows);
  }
}

attention::FusedAttention* CudaPrompt::fused_attention(int64_t rows, int64_t kv_len) {
  const attention::PagedKv kv = cache_.layer(0);
  const bool takes = kv.dtype == DType::kF16 || kv.dtype == DType::kBF16;
  if (rows * kv_len < kFusedFrom || !takes) {
    return nullptr;
  }
  if (!looked_for_fused_) {
    looked_for_fused_ = true;
    try {
      fused_ = std::make_unique<attention::FusedAttention>(attention::FusedAttention::Shape{
          .max_tokens = static_cast<int>(layers_.activations().max_rows),
          .num_q_heads = config_.num_q_heads,
          .num_kv_heads = config_.num_kv_heads,
          .head_dim = config_.head_dim,
          .max_pages = max_pages_,
          .num_pages = cache_.num_pages(),
          .kv = kv});
      fused_workspace_ = DeviceBuffer(attention::FusedAttention::workspace_bytes());
    } catch (const Error& error) {
      fused_.reset();
      log_warn(std::string("long prompts are slower than they could be: ") + error.what());
    }
  }
  return fused_.get();
}

void CudaPrompt::set_scales(int layer, int64_t rows, const CudaLayers::Qkv& qkv) {
  attention::cuda::kv_scales({.num_tokens = static_cast<int>(rows),
                              .num_kv_heads = config_.num_kv_heads,
                              .head_dim = config_.head_dim,
                              .k = qkv.k,
                              .v = qkv.v,
                              .row_stride = qkv.kv_stride,
                              .k_scales = cache_.scales(layer),
                              .v_scales = cache_.scales(layer) + config_.num_kv_heads},
                             stream_->get());
}

void CudaPrompt::attend(int layer, int64_t rows, int64_t first_position, const int32_t* page_table,
                        const CudaLayers::Qkv& qkv) {
  const attention::PagedKv kv = cache_.layer(layer);
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
  attention::cuda::prefill_attention({.num_tokens = static_cast<int>(rows),
                                      .num_q_heads = config_.num_q_heads,
                                      .num_kv_heads = config_.num_kv_heads,
                                      .head_dim = config_.head_dim,
                                      .scale = attention_scale(config_),
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

void CudaPrompt::attend_fused(attention::FusedAttention& fused, int layer, int64_t rows,
                              int64_t first_position, const int32_t* page_table,
                              const CudaLayers::Qkv& qkv) {
  const CudaActivations& act = layers_.activations();
  const attention::PagedKv kv = cache_.layer(layer);
  attention::cuda::rotate_append({.num_tokens = static_cast<int>(rows),
                                  .num_q_heads = config_.num_q_heads,
                                  .num_kv_heads = config_.num_kv_heads,
                                  .head_dim = config_.head_dim,
                                  .first_position = first_position,
                                  .q = qkv.q,
                                  .k = qkv.k,
                                  .v = qkv.v,
                                  .row_stride = qkv.q_stride,
                                  .rope_table = act.rope_table,
                                  .page_table = page_table,
                                  .kv = kv,
                                  .q_dtype = kv.dtype,
                                  .q_out = act.rounded_q},
                                 stream_->get());
  fused.attend({.num_tokens = static_cast<int>(rows),
                .scale = attention_scale(config_),
                .first_position = first_position,
                .q = act.rounded_q,
                .page_table = page_table,
                .kv = kv,
                .out = act.rounded_attended,
                .workspace = fused_workspace_.data()},
               stream_->get());
}

}  // namespace lychee::model
