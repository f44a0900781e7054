#pragma once

#include <vector>

#include "io/model_files.h"

namespace lychee::model {

struct RopeFrequencies {
  std::vector<float> inv_freq;  // [head_dim / 2]
  float attention_factor = 1;   // multiplies cos and sin (yarn)
};

// Frequencies for a pass over a sequence of `length` tokens, as Hugging Face's modeling_rope_utils
// defines them; only the `dynamic` type depends on `length`.
[[nodiscard]] RopeFrequencies rope_frequencies(const io::ModelConfig& config, int64_t length);

// Whether a sequence's length changes its frequencies.
[[nodiscard]] inline bool rope_depends_on_length(const io::ModelConfig& config) {
  return config.rope_scaling.type == io::RopeType::kDynamic;
}

}  // namespace lychee::model
