#pragma once

#include <cstdint>
#include <vector>

#include "io/model_files.h"

namespace lychee::test {

// Row-major, y = W x; `bias` is empty or has one value per row.
struct Matrix {
  int64_t rows = 0;
  int64_t cols = 0;
  std::vector<double> values;
  std::vector<double> bias;

  [[nodiscard]] std::vector<double> times(const std::vector<double>& x) const;
};

struct ReferenceLayer {
  std::vector<double> attention_norm;
  Matrix q, k, v, o;
  std::vector<double> q_norm, k_norm;  // [head_dim]; empty without QK-norm
  std::vector<double> mlp_norm;
  Matrix gate, up, down;
};

// All weights of a model in double and in the rotate-half layout of Hugging Face checkpoints.
struct ReferenceWeights {
  io::ModelConfig config;
  Matrix embedding;  // [vocab, hidden]
  std::vector<ReferenceLayer> layers;
  std::vector<double> final_norm;
  Matrix output;  // [vocab, hidden]
};

// Of F32, F16 and BF16 tensors, from a folder or a GGUF file.
[[nodiscard]] ReferenceWeights load_reference_weights(const io::ModelFiles& files);

}  // namespace lychee::test
