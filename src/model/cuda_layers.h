#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "kernels/sampling/sample.h"
#include "model/cuda_activations.h"
#include "model/cuda_weights.h"
#include "model/rope_frequencies.h"

namespace lychee::model {

struct CudaDecoderOptions {
  std::optional<linear::DeviceFormat> weights;  // what matrices are rounded to; nullopt: the file's
  int max_rows;                                 // most prompt tokens per pass
  int sampled_vocab;                            // ids that may be drawn
  bool exact;                                   // f32 throughout
};

// The layers of a decoder on a GPU, but for attention: what prompts and decode steps enqueue alike.
// Holds the weights and the activations of a pass; nothing here waits for the device, but for the
// constructor.
class CudaLayers {
 public:
  // `config` must outlive it. Throws Error(kOutOfMemory).
  CudaLayers(const io::ModelConfig& config, const ModelWeights& weights,
             std::shared_ptr<const Stream> stream, const CudaDecoderOptions& options);

  // Of the device's memory, for activations and scratch.
  [[nodiscard]] static int64_t workspace_bytes(const io::ModelConfig& config, int max_rows);

  // Where a pass keeps Q, K and V: rows of [q, k, v], or Q apart, since decode attention wants its
  // rows without gaps.
  struct Qkv {
    float *q, *k, *v;
    int64_t q_stride, kv_stride;  // elements from row to row
  };
  [[nodiscard]] Qkv qkv_of(int64_t rows, bool q_apart) const;

  // Frequencies of the model, or for a prompt of `length` tokens (dynamic RoPE).
  void set_frequencies(int64_t length);
  // inv_freq: each row's own, [rows, head_dim / 2]; null: those that were set, for all.
  void make_rope_table(int64_t rows, const int64_t* positions, const float* inv_freq);
  void embed(int64_t rows, const int32_t* ids);
  // x to Q, K and V, before their norms and rotation.
  void project_qkv(int layer, int64_t rows, const Qkv& qkv);
  // RMSNorm of the heads of Q and K, where the model has it.
  void norm_qk(int layer, int64_t rows, const Qkv& qkv);
  void rotate_qk(int64_t rows, const Qkv& qkv);
  // The weights of norm_qk(), null where there are none.
  struct HeadNorms {
    const float *q, *k;
  };
  [[nodiscard]] HeadNorms head_norms(int layer) const;
  // The output projection of `attended`, or of rounded_attended where decodes_rounded(rows).
  void add_attention(int layer, int64_t rows);
  void add_decoded_attention(int layer, int64_t rows);
  // The MLP. Where decodes_rounded(rows), activations between its kernels are rounded.
  void add_mlp(int layer, int64_t rows);

  // Whether products of so many rows can take activations that were rounded to bf16 where they were
  // made: the same values, moved once instead of three times. Of decode rows, and of a prompt's.
  [[nodiscard]] bool decodes_rounded(int64_t rows) const;
  [[nodiscard]] bool keeps_rounded(int64_t rows) const;
  // Like those without `rounded`, where keeps_rounded(rows).
  void project_rounded_qkv(int layer, int64_t rows, const Qkv& qkv);
  void add_rounded_attention(int layer, int64_t rows);  // of rounded_attended
  void add_rounded_mlp(int layer, int64_t rows);

  // Logits of rows of x, and the best id of each.
  void make_logits(int64_t first_row, int64_t rows);
  // Where the id drawn from a row of those logits will be, in pinned host memory; one at a time.
  [[nodiscard]] const int32_t* draw(int64_t row, const sampling::SampleParams& params,
                                    double uniform);

  [[nodiscard]] const CudaActivations& activations() const { return act_; }
  [[nodiscard]] int64_t weight_bytes_per_step() const { return weights_.bytes_per_step(); }

 private:
  [[nodiscard]] const CudaLayer& layer(int index) const;
  // RMSNorm of rows of x into normed, or of x into rounded_normed.
  void normalize(const float* weight, const float* x, int64_t rows);
  void normalize_rounded(const float* weight, int64_t rows);
  void norm_heads(const float* weight, float* heads, int num_heads, int64_t rows,
                  int64_t row_stride);
  void rotate(float* heads, int num_heads, int64_t rows, int64_t row_stride);
  // A call of linear() without activations.
  [[nodiscard]] linear::DeviceLinearParams linear_params(
      std::span<const linear::DeviceLinearTarget> targets, int64_t rows) const;
  void apply(std::span<const linear::DeviceLinearTarget> targets, int64_t rows, const float* x,
             bool accumulate, bool swiglu);
  void apply(const CudaLinear& linear, int64_t rows, const float* x, float* y, bool accumulate);
  // Decode rows: of the norm of x, to the targets' y or to `swiglu`; and added to y.
  void decode_normed(std::span<const linear::DeviceLinearTarget> targets, int64_t rows,
                     const float* x, const float* norm_weight, bf16* swiglu);
  void decode_rounded(const CudaLinear& linear, int64_t rows, const bf16* x, float* y);
  // To the targets' y, or to `swiglu`.
  void apply_rounded(std::span<const linear::DeviceLinearTarget> targets, int64_t rows,
                     const bf16* x, bool accumulate, bf16* swiglu);

  const io::ModelConfig& config_;
  CudaDecoderOptions options_;
  std::shared_ptr<const Stream> stream_;
  CudaWeights weights_;
  std::unique_ptr<linear::DeviceGemm> gemm_;  // null: cuBLASLt is missing
  bool rounds_;                               // whether all layers can take bf16
  RopeFrequencies frequencies_;
  CudaActivations act_;
};

}  // namespace lychee::model
