#include <array>
#include <ctime>

#include "base/check.h"
#include "text/jinja/filters.h"
#include "text/jinja/text_functions.h"

namespace lychee::text::jinja {
namespace {

Value run_range(const Call& call) {
  const int64_t first = call.integer(0, 0);
  const int64_t start = call.has(1) ? first : 0;
  const int64_t stop = call.has(1) ? call.integer(1, 0) : first;
  const int64_t step = call.integer(2, 1);
  require(step != 0, ErrorCode::kInvalidArgument, "range(): the step is 0");
  Values items;
  for (int64_t at = start; step > 0 ? at < stop : at > stop;) {
    require(std::ssize(items) < kMaxRange, ErrorCode::kInvalidArgument, "range() is longer than ",
            kMaxRange, " items");
    items.emplace_back(at);
    if (__builtin_add_overflow(at, step, &at)) {
      break;
    }
  }
  call.runtime.charge_steps(std::ssize(items));
  return make_sequence(std::move(items), SequenceKind::kRange);
}

// What namespace() and dict() are made from: at most one dict, and named values.
std::vector<std::pair<Value, Value>> initial_entries(const Call& call, std::string_view function) {
  std::vector<std::pair<Value, Value>> entries;
  const Values& given = call.rest.positional;
  require(given.size() <= 1 && (given.empty() || given[0].map() != nullptr),
          ErrorCode::kInvalidArgument, function, "() takes one dict and named values");
  if (!given.empty()) {
    entries = given[0].map()->entries;
  }
  for (const auto& [name, value] : call.rest.named) {
    entries.emplace_back(Value(name), value);
  }
  return entries;
}

Value run_namespace(const Call& call) {
  Namespace* result = call.runtime.new_namespace();
  for (auto& [key, value] : initial_entries(call, "namespace")) {
    require(key.text() != nullptr, ErrorCode::kInvalidArgument,
            "namespace(): a name must be a str, not a ", type_name(key));
    result->set(*key.text(), std::move(value));
  }
  return Value::Storage(result);
}

Value run_dict(const Call& call) {
  return make_map(initial_entries(call, "dict"));
}

Value run_raise_exception(const Call& call) {
  throw RaisedException(text_of(call.runtime, call[0]));
}

Value run_strftime_now(const Call& call) {
  const std::string& format = call.text(0);
  if (format.empty()) {
    return "";
  }
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  std::array<char, 256> buffer;
  const size_t count = std::strftime(buffer.data(), buffer.size(), format.c_str(), &local);
  return std::string(buffer.data(), count);
}

constexpr Builtin kFunctions[] = {
    {"dict", "*", 0, run_dict},
    {"namespace", "*", 0, run_namespace},
    {"raise_exception", "message", 1, run_raise_exception},
    {"range", "start stop step", 1, run_range},
    {"strftime_now", "format", 1, run_strftime_now},
};

}  // namespace

const Builtin* find_function(std::string_view name) {
  return find_builtin(kFunctions, name);
}

}  // namespace lychee::text::jinja
