#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "model/cuda_buffers.h"
#include "model/cuda_step.h"
#include "model/cuda_weights.h"
#include "model/decoder.h"
#include "model/kv_cache.h"
#include "model/rope_frequencies.h"

namespace lychee::model {

struct CudaDecoderOptions {
  std::optional<linear::DeviceFormat> weights;  // what matrices are rounded to; nullopt: the file's
  int max_rows;                                 // most prompt tokens per pass
  int sampled_vocab;                            // ids that greedy sampling may draw
  bool exact;                                   // f32 throughout
};

// The decoder on a GPU. A decode step is one captured graph per CudaStepShape: lengths, tables and
// token ids reach it in one copy, and nothing but the ids that greedy sampling draws is waited for.
// Selection runs on a second stream, beside the output projection and the MLP.
class CudaDecoder final : public Decoder {
 public:
  // `files` must outlive it, `cache` lies in device memory. Throws Error(kOutOfMemory).
  CudaDecoder(const io::ModelFiles& files, KvCache& cache, std::shared_ptr<const Stream> stream,
              const CudaDecoderOptions& options);

  // Of the device's memory, for activations and scratch.
  [[nodiscard]] static int64_t workspace_bytes(const io::ModelConfig& config, int max_rows);

  void prefill(std::span<const int32_t> token_ids, int64_t first_position, int64_t rope_length,
               std::span<const int32_t> pages) override;
  void decode(std::span<DecodeRow> rows) override;
  void logits(int64_t first_row, int64_t num_rows, float* out) override;
  [[nodiscard]] std::optional<int32_t> greedy(int64_t row) override;
  void fill_noise(int64_t begin, int64_t end, uint64_t seed,
                  std::span<const int32_t> pages) override;
  [[nodiscard]] const ModelWeights& weights() const override { return host_weights_; }
  [[nodiscard]] int64_t weight_bytes_per_step() const override { return weights_.bytes_per_step(); }

 private:
  // Where a pass keeps Q, K and V: rows of [q, k, v], or Q apart, since decode attention wants its
  // rows without gaps.
  struct Qkv {
    float *q, *k, *v;
    int64_t q_stride, kv_stride;  // elements from row to row
  };
  [[nodiscard]] Qkv qkv_of(int64_t rows, bool q_apart) const;

  // Frequencies of the model, or for a prompt of `length` tokens (dynamic RoPE).
  void set_frequencies(int64_t length);
  void embed(int64_t rows, const int32_t* ids);
  void make_rope_table(int64_t rows, const int64_t* positions, const float* inv_freq, float* table);
  // RMSNorm of x into normed.
  void normalize(const float* weight, int64_t rows);
  void norm_heads(const float* weight, float* heads, int num_heads, int64_t rows,
                  int64_t row_stride);
  void apply(std::span<const linear::DeviceLinearTarget> targets, int64_t rows, const float* x,
             bool accumulate, bool swiglu);
  void apply(const CudaLinear& linear, int64_t rows, const float* x, float* y, bool accumulate);
  // x to rotated Q, K and V.
  void project_qkv(const CudaLayer& layer, int64_t rows, const Qkv& qkv);
  void mlp(const CudaLayer& layer, int64_t rows);
  // Logits of rows of normed, and the best id of each.
  void make_logits(int64_t first_row, int64_t rows);
  // The row of act_.logits that holds `first_row` of the last pass, `num_rows` of them made.
  [[nodiscard]] int64_t made_row(int64_t first_row, int64_t num_rows);

  [[nodiscard]] Graph& graph_of(const CudaStepShape& shape);
  // What the graph of a step records.
  void enqueue_step(const CudaStepShape& shape);
  void enqueue_attention(const CudaStepShape& shape, const CudaStepMemory::Places& at, int layer,
                         const Qkv& qkv);
  void enqueue_selection(const CudaStepShape& shape, const CudaStepMemory::Places& at, int layer);
  void wait_for_selection();

  const io::ModelConfig& config_;
  CudaDecoderOptions options_;
  KvCache& cache_;
  std::shared_ptr<const Stream> stream_;
  ModelWeights host_weights_;
  CudaWeights weights_;
  std::unique_ptr<linear::DeviceGemm> gemm_;  // null: cuBLASLt is missing
  RopeFrequencies frequencies_;
  CudaActivations act_;
  CudaStepMemory step_;
  Stream side_;
  Event fork_, join_, ids_ready_;
  bool selecting_ = false;  // on side_, and the next attention must wait for it

  struct CachedGraph {
    CudaStepShape shape;
    Graph graph;
  };
  std::vector<CachedGraph> graphs_;

  bool decoded_ = false;  // the last pass was a decode step: all its logits are made
  std::pair<int64_t, int64_t> made_rows_;  // else: first row and count of those in act_.logits
};

}  // namespace lychee::model
