#include "io/json_file.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <vector>

#include "base/check.h"

namespace lychee::io {
namespace {

constexpr int kMaxDepth = 64;

}  // namespace

nlohmann::json parse_json(std::string_view text, const std::string& file_name) {
  using nlohmann::json;
  std::vector<std::set<std::string, std::less<>>> keys;
  const auto check = [&](int depth, json::parse_event_t event, json& parsed) {
    require(depth <= kMaxDepth, ErrorCode::kInvalidArgument, file_name, ": nested more than ",
            kMaxDepth, " deep");
    if (event == json::parse_event_t::object_start) {
      keys.emplace_back();
    } else if (event == json::parse_event_t::object_end) {
      keys.pop_back();
    } else if (event == json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      require(keys.back().insert(key).second, ErrorCode::kInvalidArgument, file_name, ": key \"",
              key, "\" occurs twice");
    }
    return true;
  };
  try {
    return json::parse(text, check);
  } catch (const json::exception& error) {
    fail(ErrorCode::kInvalidArgument, file_name, " is not valid JSON: ", error.what());
  }
}

JsonObject::JsonObject(const nlohmann::json& object, std::string file_name)
    : object_(&object), file_name_(std::move(file_name)) {
  require(object.is_object(), ErrorCode::kInvalidArgument, file_name_, " is not a JSON object");
}

void JsonObject::fail_type(std::string_view key, std::string_view wanted) const {
  const std::string value =
      find(key)->dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  constexpr size_t kShown = 60;
  fail(ErrorCode::kInvalidArgument, file_name_, ": ", key, " is not ", wanted, ": ",
       value.substr(0, kShown));
}

void JsonObject::fail_missing(std::string_view key) const {
  fail(ErrorCode::kInvalidArgument, file_name_, ": ", key, " is missing");
}

const nlohmann::json* JsonObject::find(std::string_view key) const {
  const auto found = object_->find(key);
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

std::optional<int64_t> JsonObject::integer(std::string_view key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  const bool fits =
      value->is_number_unsigned()
          ? value->get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())
          : value->is_number_integer();
  if (!fits) {
    fail_type(key, "an integer below 2^63");
  }
  return value->get<int64_t>();
}

std::optional<double> JsonObject::number(std::string_view key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (!value->is_number() || !std::isfinite(value->get<double>())) {
    fail_type(key, "a number");
  }
  return value->get<double>();
}

std::optional<bool> JsonObject::boolean(std::string_view key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (!value->is_boolean()) {
    fail_type(key, "true or false");
  }
  return value->get<bool>();
}

std::optional<std::string> JsonObject::string(std::string_view key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (!value->is_string()) {
    fail_type(key, "a string");
  }
  return value->get<std::string>();
}

std::optional<JsonObject> JsonObject::object(std::string_view key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (!value->is_object()) {
    fail_type(key, "an object");
  }
  return JsonObject(*value, file_name_ + ": " + std::string(key));
}

int64_t JsonObject::required_integer(std::string_view key, int64_t low, int64_t high) const {
  const std::optional<int64_t> value = integer(key);
  if (!value) {
    fail_missing(key);
  }
  require(*value >= low && *value <= high, ErrorCode::kInvalidArgument, file_name_, ": ", key,
          " is ", *value, ", not between ", low, " and ", high);
  return *value;
}

double JsonObject::required_number(std::string_view key) const {
  const std::optional<double> value = number(key);
  if (!value) {
    fail_missing(key);
  }
  return *value;
}

std::string JsonObject::required_string(std::string_view key) const {
  std::optional<std::string> value = string(key);
  if (!value) {
    fail_missing(key);
  }
  return *std::move(value);
}

}  // namespace lychee::io
