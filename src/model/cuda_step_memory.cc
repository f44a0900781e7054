#include "model/cuda_step_memory.h"

#include <algorithm>
#include <cstring>

#include "kernels/attention/hybrid_decode.h"
#include "kernels/attention/page_bound.h"
#include "kernels/attention/select_tokens.h"
#include "model/cuda_memory.h"

namespace lychee::model {

namespace {

constexpr int64_t kFloat = sizeof(float);

// Pages of summaries that a row of `page-bound` has, at most.
int64_t summary_stride(const CudaStepShape& shape) {
  return shape.page_bound.empty() ? 0
                                  : ceil_div(shape.max_kv_len, int64_t{attention::kBoundPageSize} *
                                                                   attention::kPageSize);
}

size_t num_rank_tables(const CudaStepShape& shape) {
  return shape.page_bound.empty() ? 0 : shape.page_bound.size() + 1;
}

}  // namespace

// Where the parts of a step lie. What changes with every step comes first, then what seldom does,
// then what stays on the device.
struct CudaStepMemory::Offsets {
  int64_t ids, positions, kv_lens, inv_freq;
  int64_t changing_bytes;
  int64_t page_tables, set_of_head, emit_scores;
  std::vector<int64_t> active;
  int64_t summary_tables;
  std::vector<int64_t> ranks_pages;
  int64_t uploaded_bytes;
  int64_t scores, token_ids, num_ids, num_ids_log, all_dense, set_lse, dense_lse;
  int64_t arrivals, attention_workspace, select_workspace, page_bound_workspace;
  int64_t total_bytes;
  int64_t page_table_stride;
  int64_t summary_table_stride;
  int64_t arrivals_bytes;
  // What the host reads after a step: num_ids_log, then the two of lse where recall is observed.
  int64_t log_bytes, lse_bytes;
};

CudaStepMemory::Offsets CudaStepMemory::offsets(const CudaStepShape& shape) const {
  const int64_t batch = shape.batch;
  const int64_t heads = batch * config_.num_kv_heads;
  const attention::HybridDecodeParams decode = decode_params(shape);
  DeviceLayout layout;
  Offsets at{};
  at.page_table_stride = shape.max_kv_len / attention::kPageSize;
  at.ids = layout.add(batch * 4);
  at.positions = layout.add(batch * 8);
  at.kv_lens = layout.add(batch * 8);
  at.inv_freq = layout.add(batch * config_.head_dim / 2 * kFloat);
  at.changing_bytes = layout.bytes();
  at.page_tables = layout.add(batch * at.page_table_stride * 4);
  at.set_of_head = layout.add(config_.num_layers * heads * 4);
  at.emit_scores = layout.add(config_.num_layers * heads);
  for (size_t i = 0; i < shape.groups.size(); ++i) {
    at.active.push_back(layout.add(config_.num_layers * heads));
  }
  at.summary_table_stride = summary_stride(shape);
  at.summary_tables = layout.add(batch * at.summary_table_stride * 4);
  for (size_t i = 0; i < num_rank_tables(shape); ++i) {
    at.ranks_pages.push_back(layout.add(heads));
  }
  at.uploaded_bytes = layout.bytes();
  at.scores = layout.add(shape.groups.empty() ? 0 : heads * shape.max_kv_len * kFloat);
  at.token_ids = layout.add(heads * shape.set_stride * 4);
  at.num_ids = layout.add(heads * 4);
  at.log_bytes = config_.num_layers * heads * 4;
  at.num_ids_log = layout.add(at.log_bytes);
  at.lse_bytes =
      shape.observes_recall ? config_.num_layers * batch * config_.num_q_heads * kFloat : 0;
  at.set_lse = layout.add(at.lse_bytes);
  at.dense_lse = layout.add(at.lse_bytes);
  at.all_dense = layout.add(shape.observes_recall ? heads * 4 : 0);
  at.arrivals_bytes = attention::cuda::hybrid_decode_num_arrivals(decode) * 4;
  at.arrivals = layout.add(at.arrivals_bytes);
  at.attention_workspace = layout.add(attention::cuda::hybrid_decode_workspace_bytes(decode));
  int64_t select_bytes = 0;
  for (const CudaStepShape::Group& group : shape.groups) {
    select_bytes = std::max(select_bytes, attention::cuda::select_tokens_workspace_bytes(
                                              select_params(shape, group.selection)));
  }
  at.select_workspace = layout.add(select_bytes);
  at.page_bound_workspace =
      layout.add(shape.page_bound.empty()
                     ? 0
                     : attention::cuda::page_bound_workspace_bytes(page_bound_params(shape, {})));
  at.total_bytes = layout.bytes();
  return at;
}

attention::HybridDecodeParams CudaStepMemory::decode_params(const CudaStepShape& shape) const {
  attention::HybridDecodeParams p{};
  p.batch = shape.batch;
  p.num_q_heads = config_.num_q_heads;
  p.num_kv_heads = config_.num_kv_heads;
  p.head_dim = config_.head_dim;
  p.kv = kv_;
  p.page_table_stride = shape.max_kv_len / attention::kPageSize;
  p.token_ids_stride = shape.set_stride;
  p.scores_stride = shape.max_kv_len;
  return p;
}

attention::SelectTokensParams CudaStepMemory::select_params(const CudaStepShape& shape,
                                                            const Selection& selection) const {
  attention::SelectTokensParams p{};
  p.num_rows = shape.batch * config_.num_kv_heads;
  p.scores_stride = shape.max_kv_len;
  p.selection = selection;
  p.token_ids_stride = shape.set_stride;
  p.rows_per_kv_len = config_.num_kv_heads;
  return p;
}

attention::PageBoundParams CudaStepMemory::page_bound_params(const CudaStepShape& shape,
                                                             const Selection& selection) const {
  attention::PageBoundParams p{};
  p.batch = shape.batch;
  p.num_q_heads = config_.num_q_heads;
  p.num_kv_heads = config_.num_kv_heads;
  p.head_dim = config_.head_dim;
  p.max_kv_len = shape.max_kv_len;
  p.summary_table_stride = summary_stride(shape);
  p.selection = selection;
  p.token_ids_stride = shape.set_stride;
  return p;
}

bool CudaStepMemory::reserve(const CudaStepShape& shape, const Stream& stream) {
  const Offsets at = offsets(shape);
  bool moved = false;
  if (memory_.bytes() < at.total_bytes) {
    stream.synchronize();
    memory_ = DeviceBuffer();  // before the new one is taken
    memory_ = DeviceBuffer(at.total_bytes);
    moved = true;
  }
  if (pinned_.bytes() < at.uploaded_bytes) {
    pinned_ = PinnedBuffer(at.uploaded_bytes);
    moved = true;
  }
  if (log_.bytes() < at.log_bytes + 2 * at.lse_bytes) {
    log_ = PinnedBuffer(at.log_bytes + 2 * at.lse_bytes);
    moved = true;
  }
  if (moved) {
    uploaded_ = {};
  }
  return moved;
}

CudaStepMemory::Places CudaStepMemory::places(const CudaStepShape& shape) const {
  const Offsets at = offsets(shape);
  const auto place = [&]<typename T>(int64_t offset, T*& address) {
    address = reinterpret_cast<T*>(memory_.data() + offset);
  };
  Places places{};
  place(at.ids, places.ids);
  place(at.positions, places.positions);
  place(at.kv_lens, places.kv_lens);
  place(at.inv_freq, places.inv_freq);
  place(at.page_tables, places.page_tables);
  places.page_table_stride = at.page_table_stride;
  place(at.set_of_head, places.set_of_head);
  place(at.emit_scores, places.emit_scores);
  for (const int64_t offset : at.active) {
    places.active.push_back(reinterpret_cast<uint8_t*>(memory_.data() + offset));
  }
  place(at.summary_tables, places.summary_tables);
  places.summary_table_stride = at.summary_table_stride;
  for (const int64_t offset : at.ranks_pages) {
    places.ranks_pages.push_back(reinterpret_cast<uint8_t*>(memory_.data() + offset));
  }
  place(at.scores, places.scores);
  place(at.token_ids, places.token_ids);
  place(at.num_ids, places.num_ids);
  place(at.num_ids_log, places.num_ids_log);
  places.num_ids_log_host = reinterpret_cast<int32_t*>(log_.data());
  place(at.all_dense, places.all_dense);
  place(at.set_lse, places.set_lse);
  place(at.dense_lse, places.dense_lse);
  places.set_lse_host = reinterpret_cast<float*>(log_.data() + at.log_bytes);
  places.dense_lse_host = reinterpret_cast<float*>(log_.data() + at.log_bytes + at.lse_bytes);
  place(at.arrivals, places.arrivals);
  places.attention_workspace = memory_.data() + at.attention_workspace;
  places.select_workspace = memory_.data() + at.select_workspace;
  places.page_bound_workspace = memory_.data() + at.page_bound_workspace;
  return places;
}

void CudaStepMemory::upload(std::span<const DecodeRow> rows, const CudaStepPlan& plan,
                            std::span<const float> inv_freq, const Stream& stream) {
  const Offsets at = offsets(plan.shape);
  copied_.synchronize();  // the copy before this one has left the pinned memory
  const auto host = [&](int64_t offset) { return pinned_.data() + offset; };
  for (size_t i = 0; i < rows.size(); ++i) {
    reinterpret_cast<int32_t*>(host(at.ids))[i] = rows[i].token_id;
    reinterpret_cast<int64_t*>(host(at.positions))[i] = rows[i].position;
    reinterpret_cast<int64_t*>(host(at.kv_lens))[i] = rows[i].position + 1;
  }
  if (!inv_freq.empty()) {
    std::memcpy(host(at.inv_freq), inv_freq.data(), inv_freq.size_bytes());
  }
  bool changed = uploaded_ != plan.shape;
  const auto replace = [&](int64_t offset, const void* data, size_t bytes) {
    changed = changed || std::memcmp(host(offset), data, bytes) != 0;
    if (changed) {
      std::memcpy(host(offset), data, bytes);
    }
  };
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto pages =
        static_cast<size_t>(ceil_div(rows[i].position + 1, int64_t{attention::kPageSize}));
    replace(at.page_tables + static_cast<int64_t>(i) * at.page_table_stride * 4,
            rows[i].pages.data(), pages * sizeof(int32_t));
  }
  const CudaStepTables& tables = plan.tables;
  for (size_t i = 0; i < rows.size() && !tables.ranks_pages.empty(); ++i) {
    if (tables.ranks_pages.back()[i * static_cast<size_t>(config_.num_kv_heads)] != 0) {
      const int64_t pages =
          ceil_div(rows[i].position + 1, int64_t{attention::kBoundPageSize} * attention::kPageSize);
      replace(at.summary_tables + static_cast<int64_t>(i) * at.summary_table_stride * 4,
              rows[i].summaries->table.pages().data(),
              static_cast<size_t>(pages) * sizeof(int32_t));
    }
  }
  for (size_t i = 0; i < tables.ranks_pages.size(); ++i) {
    replace(at.ranks_pages[i], tables.ranks_pages[i].data(), tables.ranks_pages[i].size());
  }
  replace(at.set_of_head, tables.set_of_head.data(), tables.set_of_head.size() * sizeof(int32_t));
  replace(at.emit_scores, tables.emit_scores.data(), tables.emit_scores.size());
  for (size_t i = 0; i < tables.active.size(); ++i) {
    replace(at.active[i], tables.active[i].data(), tables.active[i].size());
  }
  if (uploaded_ != plan.shape) {
    // Another shape lays other things where the counters are.
    fill_on_device(memory_.data() + at.arrivals, 0, at.arrivals_bytes, stream.get());
    uploaded_ = plan.shape;
  }
  copy_to_device(memory_.data(), pinned_.data(), changed ? at.uploaded_bytes : at.changing_bytes,
                 stream.get());
  copied_.record(stream.get());
}

const int32_t* CudaStepMemory::upload_prompt(std::span<const int32_t> token_ids,
                                             int64_t first_position, std::span<const int32_t> pages,
                                             int64_t min_pages, const CudaActivations& activations,
                                             const Stream& stream) {
  const auto rows = std::ssize(token_ids);
  DeviceLayout layout;
  layout.add(rows * 4);
  const int64_t positions_at = layout.add(rows * 8);
  const int64_t num_pages = std::max(std::ssize(pages), min_pages);
  const int64_t pages_at = layout.add(num_pages * 4);
  if (prompt_host_.bytes() < layout.bytes()) {
    stream.synchronize();
    prompt_host_ = PinnedBuffer(2 * layout.bytes());
    prompt_pages_ = DeviceBuffer(2 * layout.bytes());
  }
  copied_.synchronize();
  std::copy(token_ids.begin(), token_ids.end(), reinterpret_cast<int32_t*>(prompt_host_.data()));
  auto* positions = reinterpret_cast<int64_t*>(prompt_host_.data() + positions_at);
  for (int64_t i = 0; i < rows; ++i) {
    positions[i] = first_position + i;
  }
  auto* table = reinterpret_cast<int32_t*>(prompt_host_.data() + pages_at);
  std::fill(std::copy(pages.begin(), pages.end(), table), table + num_pages,
            pages.empty() ? 0 : pages.back());
  copy_to_device(activations.ids, prompt_host_.data(), rows * 4, stream.get());
  copy_to_device(activations.positions, positions, rows * 8, stream.get());
  copy_to_device(prompt_pages_.data(), table, num_pages * 4, stream.get());
  copied_.record(stream.get());
  return reinterpret_cast<const int32_t*>(prompt_pages_.data());
}

}  // namespace lychee::model
