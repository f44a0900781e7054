#pragma once

#include <vector>

#include "io/gguf/gguf.h"
#include "io/huggingface/safetensors.h"
#include "io/model_files.h"

namespace lychee::io {

// The decoder that a GGUF header describes. `tensors` settles what the metadata leaves open: tied
// embeddings, biases, vocabulary size, RoPE frequency factors. Throws Error(kInvalidArgument) for
// what is missing or contradictory, Error(kUnsupported) for a model we do not run, naming it.
[[nodiscard]] ModelConfig read_gguf_config(const GgufMetadata& metadata, const TensorMap& tensors);

// Ids that end an answer, and the sampling defaults that the file carries.
[[nodiscard]] GenerationDefaults read_gguf_generation(const GgufMetadata& metadata);

}  // namespace lychee::io
