#pragma once

#include <string_view>

#include "text/jinja/arguments.h"
#include "text/jinja/value.h"

namespace lychee::text::jinja {

// The name, kept for ever, of the method that a value of this type has; "" if it has none such.
[[nodiscard]] std::string_view find_method(const Value& value, std::string_view name);

// Whether values of any type have this method.
[[nodiscard]] bool is_method(std::string_view name);

[[nodiscard]] Value call_method(Runtime& runtime, const BoundMethod& method, Arguments arguments);

}  // namespace lychee::text::jinja
