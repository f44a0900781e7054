#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "kernels/linear/device_linear.h"
#include "model/weights.h"
#include "tensor/device_buffer.h"
#include "tensor/stream.h"

namespace lychee::model {

// A matrix and its bias in device memory.
struct CudaLinear {
  linear::DeviceWeight weight;
  const float* bias = nullptr;  // [out_features] or null
};

struct CudaLayer {
  const float* attention_norm;  // [hidden_size]
  CudaLinear q, k, v;
  const float* q_norm = nullptr;  // [head_dim]; null without QK-norm
  const float* k_norm = nullptr;
  CudaLinear o;
  const float* mlp_norm;  // [hidden_size]
  CudaLinear gate, up, down;
};

// ModelWeights as the CUDA kernels want them, copied to the device once.
class CudaWeights {
 public:
  // `format`: what matrices are rounded to; nullopt: the file's values. Throws Error(kOutOfMemory).
  CudaWeights(const ModelWeights& weights, std::optional<linear::DeviceFormat> format,
              const Stream& stream);

  // What the constructor takes of the device's memory; the second form for a model of this shape
  // that is not loaded yet, with all matrices in `format`.
  [[nodiscard]] static int64_t bytes(const ModelWeights& weights,
                                     std::optional<linear::DeviceFormat> format);
  [[nodiscard]] static int64_t bytes(const io::ModelConfig& config, linear::DeviceFormat format);

  [[nodiscard]] const linear::DeviceWeight& embedding() const { return embedding_; }
  [[nodiscard]] const std::vector<CudaLayer>& layers() const { return layers_; }
  [[nodiscard]] const float* final_norm() const { return final_norm_; }
  [[nodiscard]] const CudaLinear& lm_head() const { return lm_head_; }
  // Of the matrices that a decode step reads.
  [[nodiscard]] int64_t bytes_per_step() const { return bytes_per_step_; }

 private:
  class Builder;
  CudaWeights();

  DeviceBuffer memory_;
  linear::DeviceWeight embedding_{};
  std::vector<CudaLayer> layers_;
  const float* final_norm_ = nullptr;
  CudaLinear lm_head_;
  int64_t bytes_per_step_ = 0;
};

}  // namespace lychee::model
