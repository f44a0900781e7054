#pragma once

#include <span>
#include <string_view>

#include "lychee/error.h"
#include "text/jinja/arguments.h"

namespace lychee::text::jinja {

// Filters (`value | name(arguments)`) and tests (`value is name(arguments)`), by name; null when we
// have none.
[[nodiscard]] const Builtin* find_filter(std::string_view name);
[[nodiscard]] const Builtin* find_test(std::string_view name);
// Functions of the environment: range, namespace, dict, raise_exception, strftime_now.
[[nodiscard]] const Builtin* find_function(std::string_view name);

// The tables behind find_filter.
[[nodiscard]] std::span<const Builtin> text_filters();
[[nodiscard]] std::span<const Builtin> sequence_filters();
[[nodiscard]] std::span<const Builtin> selection_filters();

// The template called raise_exception; its own message goes to the user unchanged.
class RaisedException : public Error {
 public:
  explicit RaisedException(const std::string& message)
      : Error(ErrorCode::kInvalidArgument, message) {}
};

}  // namespace lychee::text::jinja
