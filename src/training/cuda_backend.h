#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "io/model_files.h"
#include "kernels/linear/device_linear.h"
#include "model/cuda_weights.h"
#include "model/weights.h"
#include "tensor/device_buffer.h"
#include "tensor/stream.h"
#include "training/backend.h"
#include "training/distillation.h"

namespace lychee::training {

// What products of the CUDA backend are made of; sums are f32 always.
enum class CudaPrecision : uint8_t {
  kBF16,   // weights and activations rounded to bf16
  kExact,  // f32 alone: for tests, slow; all weights must be f32
};

// The CUDA kernels, and the weights copied to the device once. All work goes to one stream, and the
// host waits for it in fetch() and wait() alone.
class CudaBackend final : public Backend<float> {
 public:
  // Throws Error(kUnsupported) without a GPU or cuBLASLt, Error(kOutOfMemory).
  CudaBackend(const model::ModelWeights& weights, CudaPrecision precision);

  // Device memory that a distillation takes on this GPU, the weights included. Takes none.
  [[nodiscard]] static int64_t demand(const io::ModelConfig& config,
                                      const model::ModelWeights& weights, CudaPrecision precision,
                                      const DistillationOptions& options);
  [[nodiscard]] int64_t device_bytes() const override { return device_bytes_; }
  [[nodiscard]] const FrozenWeights& weights() const override { return weights_; }
  [[nodiscard]] RowChunks chunks() const override { return {.prefill = 4096, .logits = 1024}; }
  void wait() override;

  void copy(float* to, const float* from, int64_t count) override;
  void zero(float* to, int64_t count) override;
  void embed(const int32_t* token_ids, int64_t num_rows, float* x) override;
  void gather(const rows::PickParams<float>& params) override;
  void scatter(const rows::PickParams<float>& params) override;
  void append(const rows::AppendParams<float>& params) override;

  void rms_norm(const norm::RmsNormParams& params) override;
  void rms_norm_backward(const norm::RmsNormBackwardParams<float>& params) override;
  void apply_rope_table(const rope::RopeApplyParams& params) override;
  void silu_mul(const activation::SiluMulParams& params) override;
  void silu_mul_backward(const activation::SiluMulBackwardParams<float>& params) override;
  int64_t workspace_bytes(const linear::LinearParams& params) override;
  void linear(const linear::LinearParams& params) override;
  int64_t workspace_bytes(const linear::LinearBackwardParams<float>& params) override;
  void linear_backward(const linear::LinearBackwardParams<float>& params) override;
  int64_t workspace_bytes(const attention::BlendedAttentionParams<float>& params) override;
  void attention(const attention::BlendedAttentionParams<float>& params) override;
  int64_t workspace_bytes(const attention::BlendedAttentionBackwardParams<float>& params) override;
  void attention_backward(const attention::BlendedAttentionBackwardParams<float>& params) override;
  int64_t workspace_bytes(const attention::SelectTokensParams& params) override;
  void select_tokens(const attention::SelectTokensParams& params) override;
  void kl_divergence(const loss::LogitLossParams<float>& params) override;
  void mean_square(const loss::LogitLossParams<float>& params) override;
  void hidden_mean_square(const loss::LogitLossParams<float>& params) override;

 protected:
  void* allocate(Memory& memory, int64_t bytes) override;
  void send_bytes(void* to, const void* host, int64_t bytes) override;
  void fetch_bytes(void* host, const void* from, int64_t bytes) override;

 private:
  // What is there on a device, and not where bytes are only counted.
  struct Device {
    explicit Device(const model::ModelWeights& host, CudaPrecision precision);
    Stream stream;
    linear::DeviceGemm gemm;
    PinnedBuffer staging;  // of what the host sends, one thing behind the other
    int64_t staged = 0;    // bytes of it, since the host last waited
    model::CudaWeights weights;
  };

  struct CountOnly {};
  CudaBackend(const model::ModelWeights& weights, CudaPrecision precision, CountOnly);

  [[nodiscard]] CUstream_st* stream() const { return device_->stream.get(); }

  CudaPrecision precision_;
  std::unique_ptr<Device> device_;  // null: counting
  FrozenWeights weights_;
  int64_t device_bytes_ = 0;
};

}  // namespace lychee::training
