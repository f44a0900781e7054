#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "io/model_files.h"
#include "tensor/buffer.h"

namespace lychee::model {

// y = x · weightᵀ + bias
struct LinearWeights {
  DType dtype = DType::kF32;
  const std::byte* weight = nullptr;  // [out_features, in_features], blocks along in_features
  int out_features = 0;
  int in_features = 0;
  std::vector<float> bias;  // [out_features]; empty: none

  [[nodiscard]] int64_t bytes() const {
    return dtype_bytes(dtype, int64_t{out_features} * in_features);
  }
};

struct LayerWeights {
  std::vector<float> attention_norm;  // [hidden_size]
  LinearWeights q;                    // [num_q_heads · head_dim, hidden_size]
  LinearWeights k;                    // [num_kv_heads · head_dim, hidden_size]
  LinearWeights v;                    // same
  std::vector<float> q_norm;          // [head_dim]; empty without QK-norm
  std::vector<float> k_norm;          // same
  LinearWeights o;                    // [hidden_size, num_q_heads · head_dim]
  std::vector<float> mlp_norm;        // [hidden_size]
  LinearWeights gate;                 // [intermediate_size, hidden_size]
  LinearWeights up;                   // same
  LinearWeights down;                 // [hidden_size, intermediate_size]
};

// The decoder's weights under one naming, whatever the file's. Matrices stay where they lie in the
// mapped file; only small vectors and permuted rows are copied.
struct ModelWeights {
  TensorView embedding;  // [vocab_size, hidden_size]
  std::vector<LayerWeights> layers;
  std::vector<float> final_norm;  // [hidden_size]
  LinearWeights lm_head;          // [vocab_size, hidden_size]; the embedding when tied
  std::vector<Buffer> owned;      // rows that had to be put in order

  // Bytes a decode step reads: all matrices but the embedding table's unused rows.
  [[nodiscard]] int64_t bytes_per_step() const;
  // Values in the matrices of all layers.
  [[nodiscard]] int64_t layer_parameters() const;
};

// Bytes of a model's weights with all matrices in `dtype`.
[[nodiscard]] int64_t weight_bytes(const io::ModelConfig& config, DType dtype);

// Finds every tensor the configuration asks for. Throws Error(kInvalidArgument) naming a tensor
// that is missing or of another shape, with both shapes, Error(kUnsupported) for rows that hold no
// whole blocks of `dtype`.
// Matrices are rounded to `dtype`, where one is given.
[[nodiscard]] ModelWeights load_weights(const io::ModelFiles& files,
                                        std::optional<DType> dtype = std::nullopt);

}  // namespace lychee::model
