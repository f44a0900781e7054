#include "training/host_backend.h"

#include "model/linear_calls.h"

namespace lychee::training {
namespace {

FrozenLinear view(const model::LinearWeights& weights) {
  return {.dtype = weights.dtype,
          .weight = weights.weight,
          .bias = model::bias_of(weights),
          .out_features = weights.out_features,
          .in_features = weights.in_features};
}

const float* view(const std::vector<float>& values) {
  return values.empty() ? nullptr : values.data();
}

}  // namespace

FrozenWeights view_weights(const model::ModelWeights& weights) {
  FrozenWeights views;
  for (const model::LayerWeights& layer : weights.layers) {
    views.layers.push_back({.attention_norm = view(layer.attention_norm),
                            .q = view(layer.q),
                            .k = view(layer.k),
                            .v = view(layer.v),
                            .q_norm = view(layer.q_norm),
                            .k_norm = view(layer.k_norm),
                            .o = view(layer.o),
                            .mlp_norm = view(layer.mlp_norm),
                            .gate = view(layer.gate),
                            .up = view(layer.up),
                            .down = view(layer.down)});
  }
  views.final_norm = view(weights.final_norm);
  views.lm_head = view(weights.lm_head);
  return views;
}

}  // namespace lychee::training
