#include <algorithm>
#include <array>

#include "base/check.h"
#include "text/jinja/methods.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_form.h"
#include "text/jinja/unicode.h"

namespace lychee::text::jinja {
namespace {

Value missing(const Value& value, std::string_view name) {
  return Value::undefined("'" + std::string(type_name(value)) + "' has no '" + std::string(name) +
                          "', which");
}

Value loop_attribute(const LoopState& loop, std::string_view name) {
  const int64_t count = std::ssize(loop.items->items);
  const auto at = [&loop, count](int64_t position) {
    return position >= 0 && position < count ? loop.items->items[static_cast<size_t>(position)]
                                             : Value::undefined("there is no such item, which");
  };
  if (name == "previtem") {
    return at(loop.index - 1);
  }
  if (name == "nextitem") {
    return at(loop.index + 1);
  }
  const std::array<std::pair<std::string_view, Value>, 9> fields = {{
      {"index", loop.index + 1},
      {"index0", loop.index},
      {"first", loop.index == 0},
      {"last", loop.index + 1 == count},
      {"length", count},
      {"revindex", count - loop.index},
      {"revindex0", count - loop.index - 1},
      {"depth", 1},  // more in recursive loops alone, which are refused
      {"depth0", 0},
  }};
  for (const auto& [field, value] : fields) {
    if (field == name) {
      return value;
    }
  }
  return Value::undefined("'loop." + std::string(name) + "'");
}

Value bound_method(const Value& value, std::string_view name) {
  const std::string_view method = find_method(value, name);
  return method.empty() ? Value()
                        : Value(Value::Storage(std::make_shared<const BoundMethod>(
                              BoundMethod{.self = value, .name = method})));
}

// A position counted from the end when negative; -1 when outside.
int64_t position_of(int64_t index, int64_t count) {
  const int64_t position = index < 0 ? index + count : index;
  return position >= 0 && position < count ? position : -1;
}

Value positional_item(const Value& value, int64_t index) {
  if (const std::string* text = value.text()) {
    const std::vector<std::string_view> all = characters(*text);
    const int64_t position = position_of(index, std::ssize(all));
    return position < 0 ? missing(value, std::to_string(index))
                        : Value(all[static_cast<size_t>(position)]);
  }
  const Sequence* sequence = value.sequence();
  if (sequence != nullptr && sequence->has_positions()) {
    const int64_t position = position_of(index, std::ssize(sequence->items));
    if (position >= 0) {
      return sequence->items[static_cast<size_t>(position)];
    }
  }
  return missing(value, std::to_string(index));
}

std::optional<int64_t> slice_bound(const Value& value) {
  if (value.is_none() || value.is_undefined()) {
    return std::nullopt;
  }
  require(value.is_integral(), ErrorCode::kInvalidArgument, "a slice cannot be bounded by a ",
          type_name(value));
  return value.integer();
}

// The positions that Python's slice visits.
std::vector<size_t> slice_positions(int64_t count, std::optional<int64_t> start,
                                    std::optional<int64_t> stop, int64_t step) {
  const int64_t lowest = step > 0 ? 0 : -1;
  const int64_t highest = step > 0 ? count : count - 1;
  const auto clamp = [&](int64_t bound) {
    return std::clamp(bound < 0 ? bound + count : bound, lowest, highest);
  };
  int64_t at = start ? clamp(*start) : (step > 0 ? lowest : highest);
  const int64_t end = stop ? clamp(*stop) : (step > 0 ? highest : lowest);
  // A step beyond the length visits one position, and would overflow.
  step = std::clamp(step, -count - 1, count + 1);
  std::vector<size_t> positions;
  for (; step > 0 ? at < end : at > end; at += step) {
    positions.push_back(static_cast<size_t>(at));
  }
  return positions;
}

}  // namespace

Value attribute(const Value& value, std::string_view name) {
  require_defined(value);
  if (auto* const* ns = value.get_if<Namespace*>()) {
    const Value* found = (*ns)->find(name);
    return found != nullptr ? *found : missing(value, name);
  }
  if (const auto* loop = value.get_if<std::shared_ptr<const LoopState>>()) {
    return loop_attribute(**loop, name);
  }
  Value method = bound_method(value, name);
  if (!method.is_undefined()) {
    return method;
  }
  const Value* found = value.map() != nullptr ? value.map()->find(name) : nullptr;
  return found != nullptr ? *found : missing(value, name);
}

Value item(const Value& value, const Value& key) {
  require_defined(value);
  if (value.map() != nullptr) {
    if (const Value* found = value.map()->find(key)) {
      return *found;
    }
  } else if (key.is_integral()) {
    return positional_item(value, *key.integer());
  }
  if (key.text() != nullptr) {
    return attribute(value, *key.text());
  }
  return missing(value, to_text(key));
}

Value slice(Runtime& runtime, const Value& value, const Value& start, const Value& stop,
            const Value& step) {
  require_defined(value);
  const int64_t stride = slice_bound(step).value_or(1);
  require(stride != 0, ErrorCode::kInvalidArgument, "the step of a slice cannot be 0");
  if (const std::string* text = value.text()) {
    runtime.charge_bytes(std::ssize(*text));
    const std::vector<std::string_view> all = characters(*text);
    std::string result;
    for (const size_t position :
         slice_positions(std::ssize(all), slice_bound(start), slice_bound(stop), stride)) {
      result += all[position];
    }
    return result;
  }
  const Sequence* sequence = value.sequence();
  if (sequence == nullptr || !sequence->has_positions()) {
    return missing(value, "slices");
  }
  runtime.charge_steps(std::ssize(sequence->items));
  Values items;
  for (const size_t position : slice_positions(std::ssize(sequence->items), slice_bound(start),
                                               slice_bound(stop), stride)) {
    items.push_back(sequence->items[position]);
  }
  return make_sequence(std::move(items), sequence->kind);
}

}  // namespace lychee::text::jinja
