#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "text/jinja/attribute_path.h"
#include "text/jinja/filters.h"
#include "text/jinja/operators.h"

namespace lychee::text::jinja {
namespace {

// The arguments after the first `count`, which named a filter or test.
Arguments arguments_after(const Call& call, size_t count) {
  Arguments rest = call.rest;
  const auto first = rest.positional.begin();
  const auto skipped = static_cast<int64_t>(std::min(count, rest.positional.size()));
  rest.positional.erase(first, first + skipped);
  return rest;
}

Value run_map(const Call& call) {
  Values items = iterate(call.self);
  call.runtime.charge_steps(std::ssize(items));
  Arguments given = call.rest;
  if (given.positional.empty()) {
    Value path;
    Value otherwise;
    for (const auto& [name, value] : given.named) {
      require(name == "attribute" || name == "default", ErrorCode::kInvalidArgument,
              "map: unknown argument '", name, "'");
      (name == "attribute" ? path : otherwise) = value;
    }
    require(!path.is_undefined(), ErrorCode::kInvalidArgument,
            "map needs a filter's name or 'attribute='");
    for (Value& item : items) {
      item = attribute_at(item, path, otherwise);
    }
  } else {
    const std::string* name = given.positional.front().text();
    const Builtin* filter = name != nullptr ? find_filter(*name) : nullptr;
    require(filter != nullptr, ErrorCode::kUnsupported, "map: unknown filter '",
            name != nullptr ? *name : "", "'");
    for (Value& item : items) {
      item = call_builtin(call.runtime, *filter, item, arguments_after(call, 1));
    }
  }
  return make_sequence(std::move(items), SequenceKind::kGenerator);
}

// Keeps the items of which the test, named by argument `test_index`, says `wanted`; without a name
// it is the item's truth. With `by_attribute`, argument 0 names what is tested.
Value select(const Call& call, bool by_attribute, bool wanted) {
  const Values& given = call.rest.positional;
  require(!by_attribute || !given.empty(), ErrorCode::kInvalidArgument,
          "selectattr and rejectattr need the name of an attribute");
  const size_t test_index = by_attribute ? 1 : 0;
  const Builtin* test = nullptr;
  if (given.size() > test_index) {
    const std::string* name = given[test_index].text();
    test = name != nullptr ? find_test(*name) : nullptr;
    require(test != nullptr, ErrorCode::kUnsupported, "select: unknown test '",
            name != nullptr ? *name : "", "'");
  }
  Values kept;
  for (const Value& item : iterate(call.self)) {
    const Value tested = by_attribute ? attribute_at(item, given[0], Value()) : item;
    const bool holds = test == nullptr
                           ? is_true(tested)
                           : is_true(call_builtin(call.runtime, *test, tested,
                                                  arguments_after(call, test_index + 1)));
    if (holds == wanted) {
      kept.push_back(item);
    }
  }
  return make_sequence(std::move(kept), SequenceKind::kGenerator);
}

Value run_select(const Call& call) {
  return select(call, false, true);
}
Value run_reject(const Call& call) {
  return select(call, false, false);
}
Value run_selectattr(const Call& call) {
  return select(call, true, true);
}
Value run_rejectattr(const Call& call) {
  return select(call, true, false);
}

constexpr Builtin kFilters[] = {
    {"map", "*", 0, run_map},
    {"reject", "*", 0, run_reject},
    {"rejectattr", "*", 0, run_rejectattr},
    {"select", "*", 0, run_select},
    {"selectattr", "*", 0, run_selectattr},
};

Value step_along(const Value& value, std::string_view part) {
  int64_t position = 0;
  const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), position);
  const bool is_position = error == std::errc() && end == part.data() + part.size() &&
                           !part.empty() && part.front() != '-';
  return item(value, is_position ? Value(position) : Value(part));
}

}  // namespace

std::span<const Builtin> selection_filters() {
  return kFilters;
}

Value attribute_at(const Value& item_value, const Value& path, const Value& otherwise) {
  const std::string* text = path.text();
  if (text == nullptr) {
    return item(item_value, path);
  }
  Value current = item_value;
  std::string_view rest = *text;
  for (bool more = true; more;) {
    const size_t end = rest.find('.');
    more = end != std::string_view::npos;
    current = step_along(current, rest.substr(0, end));
    if (current.is_undefined() && !otherwise.is_undefined()) {
      current = otherwise;
    }
    rest = more ? rest.substr(end + 1) : std::string_view();
  }
  return current;
}

const Builtin* find_filter(std::string_view name) {
  for (const auto table : {text_filters(), sequence_filters(), selection_filters()}) {
    if (const Builtin* found = find_builtin(table, name)) {
      return found;
    }
  }
  return nullptr;
}

}  // namespace lychee::text::jinja
