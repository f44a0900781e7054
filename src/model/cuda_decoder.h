#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "model/cuda_layers.h"
#include "model/cuda_prompt.h"
#include "model/cuda_step_graphs.h"
#include "model/cuda_step_memory.h"
#include "model/decoder.h"
#include "model/kv_cache.h"

namespace lychee::model {

// The decoder on a GPU. A decode step is one captured graph per CudaStepShape: lengths, tables and
// token ids reach it in one copy, and nothing but the ids that are drawn is waited for.
// Selection runs on a second stream, beside the output projection and the MLP.
class CudaDecoder final : public Decoder {
 public:
  // `files` must outlive it, `cache` lies in device memory. Throws Error(kOutOfMemory).
  CudaDecoder(const io::ModelFiles& files, KvCache& cache, std::shared_ptr<const Stream> stream,
              const CudaDecoderOptions& options);

  // Of the device's memory, for activations and scratch.
  [[nodiscard]] static int64_t workspace_bytes(const io::ModelConfig& config, int max_rows) {
    return CudaLayers::workspace_bytes(config, max_rows);
  }

  void prefill(std::span<const int32_t> token_ids, int64_t first_position, int64_t rope_length,
               std::span<const int32_t> pages) override;
  void decode(std::span<DecodeRow> rows) override;
  void logits(int64_t first_row, int64_t num_rows, float* out) override;
  [[nodiscard]] std::optional<int32_t> draw(int64_t row, const sampling::SampleParams& params,
                                            double uniform) override;
  void wait() override { stream_->synchronize(); }
  void fill_noise(int64_t begin, int64_t end, uint64_t seed,
                  std::span<const int32_t> pages) override;
  [[nodiscard]] const ModelWeights& weights() const override { return host_weights_; }
  [[nodiscard]] int64_t weight_bytes_per_step() const override {
    return layers_.weight_bytes_per_step();
  }

 private:
  // Chooses the scales of a cache of 8-bit floats by K and V of a prompt of random tokens, always
  // the same ones: what is computed later depends neither on who used the cache first nor on how
  // prompts are cut.
  void choose_scales();
  // The summaries of the bound pages that a prompt, or another policy, left to a row of
  // `page-bound`.
  void catch_up_summaries(std::span<DecodeRow> rows, const CudaStepPlan& plan);
  // The row of the activations' logits that holds `first_row` of the last pass, `num_rows` of them
  // made.
  [[nodiscard]] int64_t made_row(int64_t first_row, int64_t num_rows);

  const io::ModelConfig& config_;
  KvCache& cache_;
  std::shared_ptr<const Stream> stream_;
  ModelWeights host_weights_;
  CudaLayers layers_;
  CudaPrompt prompt_;
  CudaStepMemory step_;
  CudaStepGraphs graphs_;
  Event ids_ready_;
  bool choosing_scales_ = false;

  bool decoded_ = false;  // the last pass was a decode step: all its logits are made
  std::pair<int64_t, int64_t> made_rows_;  // else: first row and count of those that are
};

}  // namespace lychee::model
