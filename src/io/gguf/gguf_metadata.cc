#include "base/check.h"
#include "io/gguf/gguf.h"

namespace lychee::io {

const GgufValue* GgufMetadata::find(std::string_view key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

void GgufMetadata::fail_type(std::string_view key, std::string_view wanted) const {
  fail(ErrorCode::kInvalidArgument, file_name_, ": metadata key ", key, " is not ", wanted);
}

void GgufMetadata::fail_missing(std::string_view key) const {
  fail(ErrorCode::kInvalidArgument, file_name_, ": metadata key ", key, " is missing");
}

bool GgufMetadata::is_array(std::string_view key) const {
  const GgufValue* value = find(key);
  return value != nullptr && (std::holds_alternative<std::vector<int64_t>>(*value) ||
                              std::holds_alternative<std::vector<float>>(*value) ||
                              std::holds_alternative<std::vector<double>>(*value) ||
                              std::holds_alternative<std::vector<std::string>>(*value) ||
                              std::holds_alternative<GgufNestedArray>(*value));
}

std::optional<int64_t> GgufMetadata::integer(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (const auto* exact = std::get_if<int64_t>(value)) {
    return *exact;
  }
  fail_type(key, "an integer below 2^63");
}

std::optional<double> GgufMetadata::number(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (const auto* exact = std::get_if<double>(value)) {
    return *exact;
  }
  if (const auto* whole = std::get_if<int64_t>(value)) {
    return static_cast<double>(*whole);
  }
  fail_type(key, "a number");
}

std::optional<bool> GgufMetadata::boolean(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (const auto* exact = std::get_if<bool>(value)) {
    return *exact;
  }
  fail_type(key, "a boolean");
}

const std::string* GgufMetadata::string(std::string_view key) const {
  const GgufValue* value = find(key);
  const auto* exact = value == nullptr ? nullptr : std::get_if<std::string>(value);
  if (value != nullptr && exact == nullptr) {
    fail_type(key, "a string");
  }
  return exact;
}

const std::vector<std::string>* GgufMetadata::strings(std::string_view key) const {
  const GgufValue* value = find(key);
  const auto* exact = value == nullptr ? nullptr : std::get_if<std::vector<std::string>>(value);
  if (value != nullptr && exact == nullptr) {
    fail_type(key, "an array of strings");
  }
  return exact;
}

const std::vector<int64_t>* GgufMetadata::integers(std::string_view key) const {
  const GgufValue* value = find(key);
  const auto* exact = value == nullptr ? nullptr : std::get_if<std::vector<int64_t>>(value);
  if (value != nullptr && exact == nullptr) {
    fail_type(key, "an array of integers");
  }
  return exact;
}

const std::vector<float>* GgufMetadata::floats(std::string_view key) const {
  const GgufValue* value = find(key);
  const auto* exact = value == nullptr ? nullptr : std::get_if<std::vector<float>>(value);
  if (value != nullptr && exact == nullptr) {
    fail_type(key, "an array of 32-bit floats");
  }
  return exact;
}

int64_t GgufMetadata::required_integer(std::string_view key) const {
  const std::optional<int64_t> value = integer(key);
  if (!value) {
    fail_missing(key);
  }
  return *value;
}

double GgufMetadata::required_number(std::string_view key) const {
  const std::optional<double> value = number(key);
  if (!value) {
    fail_missing(key);
  }
  return *value;
}

const std::string& GgufMetadata::required_string(std::string_view key) const {
  const std::string* value = string(key);
  if (value == nullptr) {
    fail_missing(key);
  }
  return *value;
}

const std::vector<std::string>& GgufMetadata::required_strings(std::string_view key) const {
  const std::vector<std::string>* value = strings(key);
  if (value == nullptr) {
    fail_missing(key);
  }
  return *value;
}

bool GgufMetadata::insert(std::string key, GgufValue value) {
  return values_.emplace(std::move(key), std::move(value)).second;
}

}  // namespace lychee::io
