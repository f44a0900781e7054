#pragma once

#include <string>
#include <vector>

#include "io/json_file.h"
#include "io/model_files.h"

namespace lychee::io {

// The decoder that a config.json of Hugging Face transformers (4 or 5) describes. Throws
// Error(kInvalidArgument) for values that are missing or contradict each other, Error(kUnsupported)
// for a model we do not run (architecture, mixture of experts, sliding window, quantisation, RoPE
// type, activation), naming the value.
[[nodiscard]] ModelConfig read_hf_config(const JsonObject& config);

// rope_scaling or rope_parameters of config.json into `result`, whose context_length is known.
void read_hf_rope(const JsonObject& config, ModelConfig& result);

// eos_token_id: an integer or a list; empty when missing.
[[nodiscard]] std::vector<int32_t> read_eos_ids(const JsonObject& object);

// Checks that hold for every format: positive sizes, whole groups, even head_dim. `file_name` is
// for messages.
void check_model_config(const ModelConfig& config, const std::string& file_name);

}  // namespace lychee::io
