#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "text/jinja/value.h"

namespace lychee::text::jinja {

// Python's str() and repr().
[[nodiscard]] std::string to_text(const Value& value);
[[nodiscard]] std::string to_repr(const Value& value);

// How json.dumps lays out its text.
struct JsonLayout {
  bool ascii_only = false;
  bool sort_keys = false;
  bool multiline = false;
  std::string indent;  // of one level, when multiline
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};

// json.dumps(value). Throws Error(kInvalidArgument) for what has no JSON form.
[[nodiscard]] std::string to_json(const Value& value, const JsonLayout& layout);

// Throws Error(kInvalidArgument) for integers beyond 64 bits and nesting beyond kMaxValueDepth.
[[nodiscard]] Value from_json(const nlohmann::ordered_json& json);

}  // namespace lychee::text::jinja
