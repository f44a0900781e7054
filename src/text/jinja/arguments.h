#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/runtime.h"
#include "text/jinja/value.h"

namespace lychee::text::jinja {

// The arguments of a call, evaluated.
struct Arguments {
  Values positional;
  std::vector<std::pair<std::string, Value>> named;
};

// What a built-in function gets: its arguments in the order of its signature, undefined where none
// was given.
struct Call {
  Runtime& runtime;
  Value self;  // what is filtered, tested, or has the method
  Values arguments;
  Arguments rest;  // those beyond the signature, for the functions that take any

  [[nodiscard]] const Value& operator[](size_t index) const { return arguments[index]; }
  [[nodiscard]] bool has(size_t index) const { return !arguments[index].is_undefined(); }
  // All throw Error(kInvalidArgument) for another type.
  [[nodiscard]] const std::string& self_text() const;
  [[nodiscard]] const std::string& text(size_t index) const;
  [[nodiscard]] int64_t integer(size_t index, int64_t otherwise) const;
};

// A built-in function: `signature` names its parameters, "*" at the end stands for any more.
struct Builtin {
  std::string_view name;
  std::string_view signature;  // "old new count"
  size_t num_required;
  Value (*run)(const Call& call);
};

// Null when there is none of that name.
[[nodiscard]] const Builtin* find_builtin(std::span<const Builtin> table, std::string_view name);

// Binds the arguments to the signature and runs it. Throws Error(kInvalidArgument) when they do not
// fit.
[[nodiscard]] Value call_builtin(Runtime& runtime, const Builtin& builtin, const Value& self,
                                 Arguments arguments);

}  // namespace lychee::text::jinja
