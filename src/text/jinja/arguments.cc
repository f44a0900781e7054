#include "text/jinja/arguments.h"

#include <algorithm>

#include "base/check.h"

namespace lychee::text::jinja {
namespace {

std::vector<std::string_view> words(std::string_view text) {
  std::vector<std::string_view> result;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    result.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return result;
}

// What the function will read, charged before it does.
void charge(Runtime& runtime, const Value& value) {
  if (const std::string* text = value.text()) {
    runtime.charge_bytes(std::ssize(*text));
  } else if (const Sequence* sequence = value.sequence()) {
    runtime.charge_steps(std::ssize(sequence->items));
  } else if (const Map* map = value.map()) {
    runtime.charge_steps(std::ssize(map->entries));
  }
}

}  // namespace

const std::string& Call::self_text() const {
  require_defined(self);
  require(self.text() != nullptr, ErrorCode::kInvalidArgument, "a str was expected, not a ",
          type_name(self));
  return *self.text();
}

const std::string& Call::text(size_t index) const {
  const Value& value = arguments[index];
  require_defined(value);
  require(value.text() != nullptr, ErrorCode::kInvalidArgument, "an argument must be a str, not a ",
          type_name(value));
  return *value.text();
}

int64_t Call::integer(size_t index, int64_t otherwise) const {
  const Value& value = arguments[index];
  if (value.is_undefined()) {
    return otherwise;
  }
  require(value.is_integral(), ErrorCode::kInvalidArgument, "an argument must be an int, not a ",
          type_name(value));
  return *value.integer();
}

const Builtin* find_builtin(std::span<const Builtin> table, std::string_view name) {
  const auto found =
      std::find_if(table.begin(), table.end(), [name](const Builtin& b) { return b.name == name; });
  return found != table.end() ? &*found : nullptr;
}

Value call_builtin(Runtime& runtime, const Builtin& builtin, const Value& self,
                   Arguments arguments) {
  std::vector<std::string_view> parameters = words(builtin.signature);
  const bool takes_any = !parameters.empty() && parameters.back() == "*";
  if (takes_any) {
    parameters.pop_back();
  }
  Call call{.runtime = runtime, .self = self, .arguments = Values(parameters.size()), .rest = {}};
  std::vector<bool> given(parameters.size(), false);
  for (size_t i = 0; i < arguments.positional.size(); ++i) {
    if (i < parameters.size()) {
      call.arguments[i] = std::move(arguments.positional[i]);
      given[i] = true;
    } else {
      require(takes_any, ErrorCode::kInvalidArgument, builtin.name, "() takes at most ",
              parameters.size(), " arguments, not ", arguments.positional.size());
      call.rest.positional.push_back(std::move(arguments.positional[i]));
    }
  }
  for (auto& [name, value] : arguments.named) {
    const auto found = std::find(parameters.begin(), parameters.end(), name);
    const auto index = static_cast<size_t>(found - parameters.begin());
    if (found == parameters.end() && takes_any) {
      call.rest.named.emplace_back(name, std::move(value));
      continue;
    }
    require(found != parameters.end() && !given[index], ErrorCode::kInvalidArgument, builtin.name,
            "() has no place for the argument '", name, "'");
    call.arguments[index] = std::move(value);
    given[index] = true;
  }
  for (size_t i = 0; i < builtin.num_required; ++i) {
    require(given[i], ErrorCode::kInvalidArgument, builtin.name, "() needs the argument '",
            parameters[i], "'");
  }
  charge(runtime, self);
  return builtin.run(call);
}

}  // namespace lychee::text::jinja
