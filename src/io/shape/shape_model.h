#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "io/model_files.h"

namespace lychee::io {

// Models with the shape of a known one and random weights: for measuring, where downloading or
// reading the real ones would tell nothing more. Named `shape:NAME`.
[[nodiscard]] bool is_shape_model(std::string_view model);
[[nodiscard]] std::vector<std::string> shape_names();

// The configuration of `shape:NAME`. Throws Error(kInvalidArgument) listing the names.
[[nodiscard]] ModelConfig shape_config(std::string_view model);

// The model with all matrices but the embedding in `weights` (f32, f16, bf16, q8_0 or q4_0; else
// Error(kUnsupported)). Values repeat after some million, at no multiple of a row; no tokenizer.
[[nodiscard]] ModelFiles make_shape_model(std::string_view model, DType weights);

}  // namespace lychee::io
