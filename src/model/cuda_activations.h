#pragma once

#include <cstdint>

#include "io/model_files.h"
#include "kernels/linear/device_linear.h"
#include "model/cuda_weights.h"
#include "tensor/device_buffer.h"
#include "tensor/stream.h"

namespace lychee::model {

// Activations and scratch of a pass, in device memory unless said otherwise.
struct CudaActivations {
  CudaActivations(const io::ModelConfig& config, const CudaWeights& weights, int max_rows,
                  bool exact, const linear::DeviceGemm* gemm, const Stream& stream);
  [[nodiscard]] static int64_t bytes(const io::ModelConfig& config, int max_rows);

  int64_t max_rows;
  float* x;         // [max_rows, hidden_size], the residual stream
  float* normed;    // same
  float* qkv;       // [max_rows, (num_q_heads + 2 num_kv_heads) · head_dim]
  float* attended;  // [max_rows, num_q_heads · head_dim]
  float* gate;      // [max_rows, intermediate_size]
  // Some of them are kept in bf16 (q: in the cache's 16-bit type) in the same memory.
  bf16* rounded_normed;    // where normed is
  void* rounded_q;         // [max_rows, num_q_heads · head_dim], first half of attended
  bf16* rounded_attended;  // same shape, second half of attended
  bf16* rounded_gate;      // [max_rows, intermediate_size], where gate is
  float* rope_table;       // [max_rows, head_dim]
  float* inv_freq;         // [kMaxDecodeRows, head_dim / 2]
  float* logits;           // [kMaxDecodeRows, vocab_size]
  int32_t* ids;            // [max_rows], of a prefill
  int64_t* positions;      // same
  void* linear_workspace;
  void* argmax_workspace;
  int32_t* greedy_ids;  // [kMaxDecodeRows], in pinned host memory
  int32_t* drawn_id;    // [1], same

 private:
  DeviceBuffer memory_;
  DeviceBuffer scratch_;
  PinnedBuffer pinned_;
};

}  // namespace lychee::model
