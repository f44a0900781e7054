#pragma once

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

// Fields of a tokenizer.json, read strictly. `where` names the component in messages.
namespace lychee::io {

// Throws Error(kUnsupported) naming the first key of `object` that is not in `known`: a field we do
// not know could change the ids.
void refuse_unknown_keys(const nlohmann::json& object, std::string_view where,
                         std::initializer_list<std::string_view> known);

// The field `key`, or a default when it is missing or null; Error(kInvalidArgument) for another
// type.
[[nodiscard]] std::string optional_string(const nlohmann::json& object, const char* key,
                                          std::string_view where);
[[nodiscard]] bool optional_bool(const nlohmann::json& object, const char* key, bool otherwise,
                                 std::string_view where);

// The string field "type", required.
[[nodiscard]] std::string component_type(const nlohmann::json& component, std::string_view where);

// The field "pattern", {"String": "…"} or {"Regex": "…"}: as it is written, and whether it is a
// regular expression.
[[nodiscard]] std::pair<std::string, bool> parse_pattern(const nlohmann::json& component,
                                                         std::string_view where);

}  // namespace lychee::io
