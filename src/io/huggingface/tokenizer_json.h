#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "io/model_files.h"

namespace lychee::io {

// Builds the specification from the contents of tokenizer.json and tokenizer_config.json (empty:
// none). `truncation` and `padding` are ignored, as are fields that only shape offsets.
// Throws Error(kUnsupported) naming a component or field we do not run, Error(kInvalidArgument) for
// malformed or contradictory contents.
[[nodiscard]] TokenizerSpec parse_tokenizer_json(std::string_view tokenizer_json,
                                                 std::string_view config_json);

// The tokenizer of a model folder; nothing when it has no tokenizer.json.
[[nodiscard]] std::optional<TokenizerSpec> read_tokenizer(const std::filesystem::path& folder);

// The chat template of tokenizer_config.json's contents: a string, or the entry named "default" of
// a list. Empty when there is none.
[[nodiscard]] std::string parse_chat_template(std::string_view config_json);

// The chat template of a model folder: chat_template.jinja, else chat_template.json, else the one
// in tokenizer_config.json. Empty when there is none.
[[nodiscard]] std::string read_chat_template(const std::filesystem::path& folder);

}  // namespace lychee::io
