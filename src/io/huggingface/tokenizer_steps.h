#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "io/model_files.h"

namespace lychee::io {

inline constexpr std::string_view kMetaspaceChar = "\xE2\x96\x81";  // U+2581

// One component of `normalizer` or `pre_tokenizer` of a tokenizer.json. Throws Error(kUnsupported)
// naming what we do not run.
[[nodiscard]] NormalizerStep parse_normalizer(const nlohmann::json& component);
[[nodiscard]] PreTokenizerStep parse_pre_tokenizer(const nlohmann::json& component);

}  // namespace lychee::io
