#pragma once

#include <vector>

#include "lychee/generation.h"

namespace lychee::bench {

// How many KV heads of a layer do what in a decode step: all that its time depends on.
struct LayerMixture {
  int num_dense = 0;   // read everything
  int num_select = 0;  // read everything and emit scores
  int num_read = 0;    // read a token set
  int num_layers = 0;  // of the model that are like this; 0: not known

  [[nodiscard]] int num_kv_heads() const { return num_dense + num_select + num_read; }
};

// The different layers of a model under a policy, in the order in which they first come. Throws
// Error(kInvalidArgument) where the options contradict the model or themselves.
[[nodiscard]] std::vector<LayerMixture> layer_mixtures(const GenerationOptions& options,
                                                       int num_layers, int num_kv_heads);

}  // namespace lychee::bench
