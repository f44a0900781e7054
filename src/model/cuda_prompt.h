#pragma once

#include <cstdint>
#include <memory>

#include "kernels/attention/fused_attention.h"
#include "model/cuda_layers.h"
#include "model/kv_cache.h"
#include "tensor/device_buffer.h"
#include "tensor/stream.h"

namespace lychee::model {

// The layers of a prompt's rows on a GPU, attention included. Where products round their
// activations to bf16 anyway, these are kept so between the kernels; long prompts attend by cuDNN
// where it is installed. Both depend on nothing but the model and the positions.
class CudaPrompt {
 public:
  // All must outlive it.
  CudaPrompt(const io::ModelConfig& config, KvCache& cache, CudaLayers& layers,
             std::shared_ptr<const Stream> stream, bool exact);

  // Entries that a page table must have; those behind the sequence's pages may name any page.
  [[nodiscard]] int64_t max_pages() const { return max_pages_; }

  // Embedded rows that stand at first_position … become what the last layer leaves; their K and V
  // go to the pages. page_table: [max_pages()], in device memory. choose_scales: each layer's K and
  // V first set the scales of its cache, one of 8-bit floats.
  void run(int64_t rows, int64_t first_position, const int32_t* page_table, bool choose_scales);

 private:
  // Rows · kv_len from which cuDNN is used: below, compiling its kernel costs more than it saves.
  static constexpr int64_t kFusedFrom = int64_t{1} << 25;

  // Null where cuDNN is missing, or has no kernel for the model.
  [[nodiscard]] attention::FusedAttention* fused_attention(int64_t rows, int64_t kv_len);
  void set_scales(int layer, int64_t rows, const CudaLayers::Qkv& qkv);
  void attend(int layer, int64_t rows, int64_t first_position, const int32_t* page_table,
              const CudaLayers::Qkv& qkv);
  void attend_fused(attention::FusedAttention& fused, int layer, int64_t rows,
                    int64_t first_position, const int32_t* page_table, const CudaLayers::Qkv& qkv);

  const io::ModelConfig& config_;
  KvCache& cache_;
  CudaLayers& layers_;
  std::shared_ptr<const Stream> stream_;
  bool exact_;
  int64_t max_pages_;
  bool looked_for_fused_ = false;
  std::unique_ptr<attention::FusedAttention> fused_;
  DeviceBuffer fused_workspace_;
};

}  // namespace lychee::model
