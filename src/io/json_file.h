#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace lychee::io {

// Parses JSON from a file that may be hostile: nesting is limited and a key that occurs twice is an
// error, since readers would disagree about which one counts. `file_name` is for messages. Throws
// Error(kInvalidArgument).
[[nodiscard]] nlohmann::json parse_json(std::string_view text, const std::string& file_name);

// A JSON object with typed getters. A missing key and null are the same: nothing. Another type
// throws Error(kInvalidArgument) that names file and key. Keeps a reference to `object`.
class JsonObject {
 public:
  JsonObject(const nlohmann::json& object, std::string file_name);

  [[nodiscard]] bool contains(std::string_view key) const { return find(key) != nullptr; }
  // The value, or null when it is missing or null.
  [[nodiscard]] const nlohmann::json* find(std::string_view key) const;
  [[nodiscard]] std::optional<int64_t> integer(std::string_view key) const;
  [[nodiscard]] std::optional<double> number(std::string_view key) const;  // finite
  [[nodiscard]] std::optional<bool> boolean(std::string_view key) const;
  [[nodiscard]] std::optional<std::string> string(std::string_view key) const;
  // A nested object; its messages name it as `file: key`.
  [[nodiscard]] std::optional<JsonObject> object(std::string_view key) const;

  // As above, within [low, high] and present.
  [[nodiscard]] int64_t required_integer(std::string_view key, int64_t low, int64_t high) const;
  [[nodiscard]] double required_number(std::string_view key) const;
  [[nodiscard]] std::string required_string(std::string_view key) const;

  [[nodiscard]] const std::string& file_name() const { return file_name_; }
  [[nodiscard]] const nlohmann::json& json() const { return *object_; }

 private:
  [[noreturn]] void fail_type(std::string_view key, std::string_view wanted) const;
  [[noreturn]] void fail_missing(std::string_view key) const;

  const nlohmann::json* object_;
  std::string file_name_;
};

}  // namespace lychee::io
