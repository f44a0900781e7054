#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "io/model_files.h"
#include "kernels/attention/params.h"
#include "model/cuda_activations.h"
#include "model/cuda_step.h"
#include "tensor/device_buffer.h"
#include "tensor/stream.h"

namespace lychee::model {

// What a decode step reads besides activations: uploaded before it, or carried from layer to layer.
class CudaStepMemory {
 public:
  // `kv`: the cache's first layer.
  CudaStepMemory(const io::ModelConfig& config, const attention::PagedKv& kv)
      : config_(config), kv_(kv) {}

  // Makes room for steps of `shape`. True when addresses changed.
  [[nodiscard]] bool reserve(const CudaStepShape& shape, const Stream& stream);
  // Fills the tables and enqueues their copy to the device; what has not changed stays.
  void upload(std::span<const DecodeRow> rows, const CudaStepPlan& plan,
              std::span<const float> inv_freq, const Stream& stream);
  // Ids and positions of a prefill go to `activations`; returns where the pages went, the last of
  // them repeated until there are min_pages.
  [[nodiscard]] const int32_t* upload_prompt(std::span<const int32_t> token_ids,
                                             int64_t first_position, std::span<const int32_t> pages,
                                             int64_t min_pages, const CudaActivations& activations,
                                             const Stream& stream);

  // The parts of kernel arguments that follow from the shape.
  [[nodiscard]] attention::HybridDecodeParams decode_params(const CudaStepShape& shape) const;
  [[nodiscard]] attention::SelectTokensParams select_params(const CudaStepShape& shape,
                                                            const Selection& selection) const;
  [[nodiscard]] attention::PageBoundParams page_bound_params(const CudaStepShape& shape,
                                                             const Selection& selection) const;

  // Device addresses within steps of `shape`.
  struct Places {
    int32_t* ids;          // [batch]
    int64_t* positions;    // [batch]
    int64_t* kv_lens;      // [batch]
    float* inv_freq;       // [batch, head_dim / 2]: dynamic RoPE alone
    int32_t* page_tables;  // [batch, page_table_stride]
    int64_t page_table_stride;
    int32_t* set_of_head;          // [num_layers, batch, num_kv_heads]
    uint8_t* emit_scores;          // same
    std::vector<uint8_t*> active;  // per group, same
    int32_t* summary_tables;       // [batch, summary_table_stride]: rows of `page-bound`
    int64_t summary_table_stride;
    std::vector<uint8_t*> ranks_pages;  // as in CudaStepTables
    float* scores;                      // [batch, num_kv_heads, max_kv_len]
    int32_t* token_ids;                 // [batch · num_kv_heads, set_stride]
    int32_t* num_ids;                   // [batch · num_kv_heads]
    int32_t* num_ids_log;               // [num_layers, batch · num_kv_heads]: what each layer read
    int32_t* num_ids_log_host;          // the same in pinned host memory
    // Where recall is observed: a table of heads that all are dense, [batch, num_kv_heads], and the
    // logs of softmax sums, [num_layers, batch, num_q_heads].
    int32_t* all_dense;
    float *set_lse, *dense_lse;
    float *set_lse_host, *dense_lse_host;
    int32_t* arrivals;
    void* attention_workspace;
    void* select_workspace;
    void* page_bound_workspace;
  };
  [[nodiscard]] Places places(const CudaStepShape& shape) const;

 private:
  struct Offsets;
  [[nodiscard]] Offsets offsets(const CudaStepShape& shape) const;

  const io::ModelConfig& config_;
  attention::PagedKv kv_;
  DeviceBuffer memory_;  // uploaded part first
  PinnedBuffer pinned_;  // mirror of the uploaded part
  PinnedBuffer log_;
  CudaStepShape uploaded_;  // whose tables lie in both
  DeviceBuffer prompt_pages_;
  PinnedBuffer prompt_host_;
  Event copied_;
};

}  // namespace lychee::model
