#include "io/huggingface/tokenizer_fields.h"

#include <algorithm>

#include "base/check.h"

namespace lychee::io {

using nlohmann::json;

void refuse_unknown_keys(const json& object, std::string_view where,
                         std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : object.items()) {
    require(std::find(known.begin(), known.end(), key) != known.end(), ErrorCode::kUnsupported,
            "tokenizer.json: field \"", key, "\" of ", where, " is not supported");
  }
}

std::string optional_string(const json& object, const char* key, std::string_view where) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) {
    return "";
  }
  require(found->is_string(), ErrorCode::kInvalidArgument, "tokenizer.json: \"", key, "\" of ",
          where, " must be a string");
  return found->get<std::string>();
}

bool optional_bool(const json& object, const char* key, bool otherwise, std::string_view where) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) {
    return otherwise;
  }
  require(found->is_boolean(), ErrorCode::kInvalidArgument, "tokenizer.json: \"", key, "\" of ",
          where, " must be true or false");
  return found->get<bool>();
}

std::string component_type(const json& component, std::string_view where) {
  require(component.is_object(), ErrorCode::kInvalidArgument, "tokenizer.json: ", where,
          " must be an object");
  std::string type = optional_string(component, "type", where);
  require(!type.empty(), ErrorCode::kInvalidArgument, "tokenizer.json: ", where, " has no type");
  return type;
}

std::pair<std::string, bool> parse_pattern(const json& component, std::string_view where) {
  const auto pattern = component.find("pattern");
  require(pattern != component.end() && pattern->is_object() && pattern->size() == 1,
          ErrorCode::kInvalidArgument, "tokenizer.json: ", where,
          " needs a pattern: {\"String\": …} or {\"Regex\": …}");
  const std::string& kind = pattern->begin().key();
  require(kind == "String" || kind == "Regex", ErrorCode::kUnsupported,
          "tokenizer.json: pattern kind \"", kind, "\" of ", where, " is not supported");
  return {optional_string(*pattern, kind.c_str(), where), kind == "Regex"};
}

}  // namespace lychee::io
