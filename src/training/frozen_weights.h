#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tensor/dtype.h"

namespace lychee::training {

// Weights of a frozen model where a backend's kernels read them; views of memory that the backend
// owns.

// y = x · weightᵀ + bias
struct FrozenLinear {
  DType dtype = DType::kF32;
  const std::byte* weight = nullptr;  // [out_features, in_features], laid out as the backend likes
  const float* bias = nullptr;        // [out_features] or null
  int64_t out_features = 0;
  int64_t in_features = 0;
};

struct FrozenLayer {
  const float* attention_norm = nullptr;  // [hidden_size]
  FrozenLinear q, k, v;
  const float* q_norm = nullptr;  // [head_dim]; null without QK-norm
  const float* k_norm = nullptr;
  FrozenLinear o;
  const float* mlp_norm = nullptr;  // [hidden_size]
  FrozenLinear gate, up, down;
};

struct FrozenWeights {
  std::vector<FrozenLayer> layers;
  const float* final_norm = nullptr;  // [hidden_size]
  FrozenLinear lm_head;
};

}  // namespace lychee::training
