#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace lychee::text::jinja {

// Names and their values: those of the template, or of one pass of a loop, a macro or a block,
// which see the names around them and whose own end with them.
class Scope {
 public:
  explicit Scope(std::shared_ptr<const Scope> around) : around_(std::move(around)) {}

  // Null when no scope has the name.
  [[nodiscard]] const Value* find(std::string_view name) const;
  void set(std::string_view name, Value value);

 private:
  std::vector<std::pair<std::string, Value>> names_;
  std::shared_ptr<const Scope> around_;
};

}  // namespace lychee::text::jinja
