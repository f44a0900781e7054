#include "text/jinja/scope.h"

namespace lychee::text::jinja {

const Value* Scope::find(std::string_view name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->around_.get()) {
    for (const auto& [known, value] : scope->names_) {
      if (known == name) {
        return &value;
      }
    }
  }
  return nullptr;
}

void Scope::set(std::string_view name, Value value) {
  for (auto& [known, old] : names_) {
    if (known == name) {
      old = std::move(value);
      return;
    }
  }
  names_.emplace_back(name, std::move(value));
}

}  // namespace lychee::text::jinja
