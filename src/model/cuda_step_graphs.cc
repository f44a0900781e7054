#include "model/cuda_step_graphs.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/attention/hybrid_decode.h"
#include "kernels/attention/page_bound.h"
#include "kernels/attention/page_summary.h"
#include "kernels/attention/rotate_append.h"
#include "kernels/attention/score_sets.h"
#include "kernels/attention/select_tokens.h"
#include "model/rope_frequencies.h"

namespace lychee::model {

namespace {

// Batches come and go, and lengths double.
constexpr size_t kMaxGraphs = 16;

}  // namespace

CudaStepGraphs::CudaStepGraphs(const io::ModelConfig& config, const KvCache& cache,
                               CudaLayers& layers, const CudaStepMemory& memory,
                               std::shared_ptr<const Stream> stream)
    : config_(config),
      cache_(cache),
      layers_(layers),
      memory_(memory),
      stream_(std::move(stream)) {}

void CudaStepGraphs::launch(const CudaStepShape& shape) {
  graph_of(shape).launch(stream_->get());
}

const Graph& CudaStepGraphs::graph_of(const CudaStepShape& shape) {
  const auto it = std::find_if(graphs_.begin(), graphs_.end(),
                               [&](const CachedGraph& cached) { return cached.shape == shape; });
  if (it != graphs_.end()) {
    return it->graph;
  }
  if (graphs_.size() == kMaxGraphs) {
    graphs_.erase(graphs_.begin());
  }
  Graph graph;
  graph.capture(stream_->get(), [&] { enqueue_step(shape); });
  return graphs_.emplace_back(CachedGraph{shape, std::move(graph)}).graph;
}

void CudaStepGraphs::enqueue_step(const CudaStepShape& shape) {
  const CudaStepMemory::Places at = memory_.places(shape);
  const int64_t rows = shape.batch;
  layers_.embed(rows, at.ids);
  layers_.make_rope_table(rows, at.positions,
                          rope_depends_on_length(config_) ? at.inv_freq : nullptr);
  enqueue_streaming_sets(shape, at);
  if (shape.observes_recall) {
    static_assert(attention::HybridDecodeParams::kDense == -1);
    fill_on_device(at.all_dense, 0xff, rows * config_.num_kv_heads * 4, stream_->get());
  }
  const CudaLayers::Qkv qkv = layers_.qkv_of(rows, rows > 1);
  selecting_ = false;
  for (int layer = 0; layer < config_.num_layers; ++layer) {
    layers_.project_qkv(layer, rows, qkv);
    enqueue_attention(shape, at, layer, qkv);
    enqueue_selection(shape, at, layer);
    layers_.decodes_rounded(rows) ? layers_.add_decoded_attention(layer, rows)
                                  : layers_.add_attention(layer, rows);
    layers_.add_mlp(layer, rows);
  }
  wait_for_selection();
  if (shape.counts_ids()) {
    copy_to_host(at.num_ids_log_host, at.num_ids_log,
                 config_.num_layers * rows * config_.num_kv_heads * 4, stream_->get());
  }
  if (shape.observes_recall) {
    const int64_t bytes = config_.num_layers * rows * config_.num_q_heads * 4;
    copy_to_host(at.set_lse_host, at.set_lse, bytes, stream_->get());
    copy_to_host(at.dense_lse_host, at.dense_lse, bytes, stream_->get());
  }
  layers_.make_logits(0, rows);
}

void CudaStepGraphs::enqueue_streaming_sets(const CudaStepShape& shape,
                                            const CudaStepMemory::Places& at) {
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
}

void CudaStepGraphs::wait_for_selection() {
  if (selecting_) {
    stream_->wait(join_);
    selecting_ = false;
  }
}

void CudaStepGraphs::enqueue_page_bound(const CudaStepShape& shape,
                                        const CudaStepMemory::Places& at,
                                        const attention::PagedKv& kv, const float* q) {
  if (shape.page_bound.empty()) {
    return;
  }
  attention::cuda::page_summary_rows({.batch = shape.batch,
                                      .num_kv_heads = config_.num_kv_heads,
                                      .head_dim = config_.head_dim,
                                      .page_tables = at.page_tables,
                                      .page_table_stride = at.page_table_stride,
                                      .summary_tables = at.summary_tables,
                                      .summary_table_stride = at.summary_table_stride,
                                      .kv_lens = at.kv_lens,
                                      .active = at.ranks_pages.back(),
                                      .kv = kv},
                                     stream_->get());
  for (size_t i = 0; i < shape.page_bound.size(); ++i) {
    attention::PageBoundParams p = memory_.page_bound_params(shape, shape.page_bound[i]);
    p.kv_lens = at.kv_lens;
    p.q = q;
    p.summary_tables = at.summary_tables;
    p.kv = kv;
    p.token_ids = at.token_ids;
    p.num_ids = at.num_ids;
    p.workspace = at.page_bound_workspace;
    p.active = at.ranks_pages[i];
    attention::cuda::page_bound(p, stream_->get());
  }
}

void CudaStepGraphs::enqueue_rotation(const CudaStepShape& shape, const CudaStepMemory::Places& at,
                                      int layer, const CudaLayers::Qkv& qkv) {
  const attention::NewestTokens newest = newest_tokens(layer, qkv);
  attention::cuda::rotate_append_rows({.batch = shape.batch,
                                       .num_q_heads = config_.num_q_heads,
                                       .num_kv_heads = config_.num_kv_heads,
                                       .head_dim = config_.head_dim,
                                       .q = qkv.q,
                                       .q_stride = qkv.q_stride,
                                       .newest = newest,
                                       .page_tables = at.page_tables,
                                       .page_table_stride = at.page_table_stride,
                                       .kv_lens = at.kv_lens,
                                       .kv = cache_.layer(layer)},
                                      stream_->get());
}

attention::NewestTokens CudaStepGraphs::newest_tokens(int layer, const CudaLayers::Qkv& qkv) const {
  const CudaLayers::HeadNorms norms = layers_.head_norms(layer);
  return {.k = qkv.k,
          .v = qkv.v,
          .kv_stride = qkv.kv_stride,
          .q_norm = norms.q,
          .k_norm = norms.k,
          .norm_eps = config_.rms_norm_eps,
          .rope_table = layers_.activations().rope_table};
}

void CudaStepGraphs::enqueue_attention(const CudaStepShape& shape, const CudaStepMemory::Places& at,
                                       int layer, const CudaLayers::Qkv& qkv) {
  const attention::PagedKv kv = cache_.layer(layer);
  attention::HybridDecodeParams p = memory_.decode_params(shape);
  p.scale = 1.0F / std::sqrt(static_cast<float>(config_.head_dim));
  p.q = qkv.q;
  p.page_tables = at.page_tables;
  p.kv_lens = at.kv_lens;
  p.kv = kv;
  // Pages are ranked by what rotation and appending leave.
  if (shape.page_bound.empty() && attention::cuda::takes_newest_tokens(p)) {
    p.newest = newest_tokens(layer, qkv);
  } else {
    enqueue_rotation(shape, at, layer, qkv);
  }
  wait_for_selection();
  enqueue_page_bound(shape, at, kv, qkv.q);
  const int64_t heads = int64_t{shape.batch} * config_.num_kv_heads;
  if (shape.counts_ids()) {
    copy_on_device(at.num_ids_log + layer * heads, at.num_ids, heads * 4, stream_->get());
  }
  // Sets of selection: the attention of the layer after it has waited for that. Of streaming: that
  // of layer 0 has.
  p.sets_are_early = shape.page_bound.empty() && (layer > 0 || shape.streaming.empty());
  if (layers_.decodes_rounded(shape.batch)) {
    p.rounded_out = layers_.activations().rounded_attended;
  } else {
    p.out = layers_.activations().attended;
  }
  p.workspace = at.attention_workspace;
  p.arrivals = at.arrivals;
  if (shape.observes_recall) {
    // Once with every head dense, for the sum of its softmax; what follows overwrites the output.
    const int64_t first = int64_t{layer} * shape.batch * config_.num_q_heads;
    p.set_of_head = at.all_dense;
    p.lse = at.dense_lse + first;
    attention::cuda::hybrid_decode(p, stream_->get());
    p.lse = at.set_lse + first;
  }
  p.set_of_head = at.set_of_head + layer * heads;
  p.token_ids = at.token_ids;
  p.num_ids = at.num_ids;
  if (shape.selects_in(layer)) {
    p.scores = at.scores;
    p.emit_scores = at.emit_scores + layer * heads;
  }
  attention::cuda::hybrid_decode(p, stream_->get());
}

// The next layer's attention is the first to read the new sets: until then selection runs beside
// the output projection and the MLP.
void CudaStepGraphs::enqueue_selection(const CudaStepShape& shape, const CudaStepMemory::Places& at,
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
      attention::SelectTokensParams p = memory_.select_params(shape, group.selection);
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

}  // namespace lychee::model
