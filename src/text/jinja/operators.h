#pragma once

#include <string_view>

#include "text/jinja/ast.h"
#include "text/jinja/runtime.h"
#include "text/jinja/value.h"

namespace lychee::text::jinja {

// Python's operators. All throw Error(kInvalidArgument) where Python raises, and where an integer
// leaves 64 bits.

// `op` is one of + - * / // % **.
[[nodiscard]] Value binary(Runtime& runtime, std::string_view op, const Value& left,
                           const Value& right);
[[nodiscard]] Value negate(const Value& value);
[[nodiscard]] bool compare(Runtime& runtime, Comparison comparison, const Value& left,
                           const Value& right);
[[nodiscard]] bool contains(const Value& container, const Value& item);

// `value.name`: methods first, then keys. Undefined when there is neither.
[[nodiscard]] Value attribute(const Value& value, std::string_view name);
// `value[key]`: keys and positions first, then methods. Undefined when there is neither.
[[nodiscard]] Value item(const Value& value, const Value& key);
// `value[start:stop:step]`; none or undefined stands for what was left out.
[[nodiscard]] Value slice(Runtime& runtime, const Value& value, const Value& start,
                          const Value& stop, const Value& step);

}  // namespace lychee::text::jinja
