#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "text/jinja/ast.h"
#include "text/jinja/limits.h"
#include "text/jinja/value.h"

namespace lychee::text::jinja {

// One rendering: what it has cost so far, and what must live until its end.
class Runtime {
 public:
  explicit Runtime(const Limits& limits) : limits_(limits) {}

  // Charge before the work is done. Each throws Error(kInvalidArgument) beyond its limit.
  void charge_steps(int64_t count);
  void charge_bytes(int64_t count);
  void check_output(const std::string& output) const;

  [[nodiscard]] const Limits& limits() const { return limits_; }
  [[nodiscard]] Namespace* new_namespace() { return &namespaces_.emplace_back(); }
  [[nodiscard]] const Macro* new_macro(Macro macro);

 private:
  Limits limits_;
  int64_t steps_ = 0;
  int64_t bytes_ = 0;
  std::deque<Namespace> namespaces_;
  std::deque<Macro> macros_;
};

}  // namespace lychee::text::jinja
