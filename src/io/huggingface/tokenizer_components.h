#pragma once

#include <nlohmann/json.hpp>

#include "io/model_files.h"

namespace lychee::io {

// Reads normalizer, pre_tokenizer, post_processor and decoder of a tokenizer.json into `spec`,
// whose vocabulary is read already, and settles its kind. Throws Error(kUnsupported) naming what we
// do not run.
void read_components(const nlohmann::json& root, TokenizerSpec& spec);

}  // namespace lychee::io
