#include <algorithm>

#include "base/check.h"
#include "text/jinja/attribute_path.h"
#include "text/jinja/filters.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_functions.h"
#include "text/jinja/unicode.h"

namespace lychee::text::jinja {
namespace {

Values self_items(const Call& call) {
  Values items = iterate(call.self);
  call.runtime.charge_steps(std::ssize(items));
  return items;
}

// What sorting compares: the attribute if one is named, without its case unless it matters.
Value sort_key(const Value& item, const Value& path, bool case_sensitive) {
  Value key = path.is_undefined() || path.is_none() ? item : attribute_at(item, path, Value());
  return case_sensitive || key.text() == nullptr ? key : Value(to_lower(*key.text()));
}

Values sorted(Runtime& runtime, Values items, const Value& path, bool case_sensitive,
              bool reverse) {
  std::vector<std::pair<Value, Value>> keyed;
  int64_t weight = 0;
  for (Value& item : items) {
    Value key = sort_key(item, path, case_sensitive);
    weight = std::max(weight, extent_of(key).weight);
    keyed.emplace_back(std::move(key), std::move(item));
  }
  const int64_t rounds = 64 - __builtin_clzll(keyed.size() | 1);
  runtime.charge_steps(std::ssize(keyed) * rounds);
  runtime.charge_bytes(
      std::min(weight, runtime.limits().produced_bytes / (std::ssize(keyed) * rounds + 1) + 1) *
      std::ssize(keyed) * rounds);
  std::stable_sort(keyed.begin(), keyed.end(), [reverse](const auto& left, const auto& right) {
    return reverse ? less(right.first, left.first) : less(left.first, right.first);
  });
  items.clear();
  for (auto& [key, item] : keyed) {
    items.push_back(std::move(item));
  }
  return items;
}

Value run_length(const Call& call) {
  return length(call.self);
}
Value run_list(const Call& call) {
  return make_sequence(self_items(call));
}

Value run_first(const Call& call) {
  const Values items = self_items(call);
  return items.empty() ? Value::undefined("the first of no items") : items.front();
}
Value run_last(const Call& call) {
  const Values items = self_items(call);
  return items.empty() ? Value::undefined("the last of no items") : items.back();
}

Value run_reverse(const Call& call) {
  Values items = self_items(call);
  std::reverse(items.begin(), items.end());
  return call.self.text() != nullptr ? join(call.runtime, items, "", false)
                                     : make_sequence(std::move(items), SequenceKind::kGenerator);
}

Value run_join(const Call& call) {
  Values items = self_items(call);
  if (call.has(1) && !call[1].is_none()) {
    for (Value& item : items) {
      item = attribute_at(item, call[1], Value());
    }
  }
  return join(call.runtime, items, call.has(0) ? text_of(call.runtime, call[0]) : "", false);
}

Value run_items(const Call& call) {
  Values items;
  require(call.self.map() != nullptr || call.self.is_undefined(), ErrorCode::kInvalidArgument,
          "items: a ", type_name(call.self), " is no dict");
  if (call.self.map() != nullptr) {
    for (const auto& [key, value] : call.self.map()->entries) {
      items.push_back(make_pair(key, value));
    }
  }
  return make_sequence(std::move(items), SequenceKind::kGenerator);
}

Value run_dictsort(const Call& call) {
  require(call.self.map() != nullptr, ErrorCode::kInvalidArgument, "dictsort: a ",
          type_name(call.self), " is no dict");
  const std::string by = call.has(1) ? call.text(1) : "key";
  require(by == "key" || by == "value", ErrorCode::kInvalidArgument,
          "dictsort: 'by' must be key or value, not ", by);
  Values items;
  for (const auto& [key, value] : call.self.map()->entries) {
    items.push_back(make_pair(key, value));
  }
  return make_sequence(sorted(call.runtime, std::move(items), Value(by == "key" ? 0 : 1),
                              is_true(call[0]), is_true(call[2])));
}

Value run_sort(const Call& call) {
  return make_sequence(
      sorted(call.runtime, self_items(call), call[2], is_true(call[1]), is_true(call[0])));
}

Value run_unique(const Call& call) {
  Values seen;
  Values items;
  for (Value& item : self_items(call)) {
    Value key = sort_key(item, call[1], is_true(call[0]));
    call.runtime.charge_steps(std::ssize(seen));
    const bool known = std::any_of(seen.begin(), seen.end(),
                                   [&key](const Value& other) { return equal(other, key); });
    if (!known) {
      seen.push_back(std::move(key));
      items.push_back(std::move(item));
    }
  }
  return make_sequence(std::move(items), SequenceKind::kGenerator);
}

Value extreme(const Call& call, bool largest) {
  const Values items = self_items(call);
  if (items.empty()) {
    return Value::undefined("the extreme of no items");
  }
  const Value* best = &items.front();
  for (const Value& item : items) {
    const Value candidate = sort_key(item, call[1], is_true(call[0]));
    const Value current = sort_key(*best, call[1], is_true(call[0]));
    if (largest ? less(current, candidate) : less(candidate, current)) {
      best = &item;
    }
  }
  return *best;
}
Value run_min(const Call& call) {
  return extreme(call, false);
}
Value run_max(const Call& call) {
  return extreme(call, true);
}

Value run_sum(const Call& call) {
  Value total = call.has(1) ? call[1] : Value(0);
  for (const Value& item : self_items(call)) {
    const bool whole = !call.has(0) || call[0].is_none();
    total = binary(call.runtime, "+", total, whole ? item : attribute_at(item, call[0], Value()));
  }
  return total;
}

Value run_default(const Call& call) {
  const bool missing = call.self.is_undefined() || (is_true(call[1]) && !is_true(call.self));
  return !missing ? call.self : call.has(0) ? call[0] : Value("");
}

Value run_attr(const Call& call) {
  return attribute(call.self, call.text(0));
}

constexpr Builtin kFilters[] = {
    {"attr", "name", 1, run_attr},
    {"count", "", 0, run_length},
    {"d", "default_value boolean", 0, run_default},
    {"default", "default_value boolean", 0, run_default},
    {"dictsort", "case_sensitive by reverse", 0, run_dictsort},
    {"first", "", 0, run_first},
    {"items", "", 0, run_items},
    {"join", "d attribute", 0, run_join},
    {"last", "", 0, run_last},
    {"length", "", 0, run_length},
    {"list", "", 0, run_list},
    {"max", "case_sensitive attribute", 0, run_max},
    {"min", "case_sensitive attribute", 0, run_min},
    {"reverse", "", 0, run_reverse},
    {"sort", "reverse case_sensitive attribute", 0, run_sort},
    {"sum", "attribute start", 0, run_sum},
    {"unique", "case_sensitive attribute", 0, run_unique},
};

}  // namespace

std::span<const Builtin> sequence_filters() {
  return kFilters;
}

}  // namespace lychee::text::jinja
