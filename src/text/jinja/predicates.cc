#include <algorithm>

#include "base/check.h"
#include "text/jinja/filters.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_functions.h"
#include "text/jinja/unicode.h"

namespace lychee::text::jinja {
namespace {

Value is_defined(const Call& call) {
  return !call.self.is_undefined();
}
Value is_undefined(const Call& call) {
  return call.self.is_undefined();
}
Value is_none(const Call& call) {
  return call.self.is_none();
}
Value is_boolean(const Call& call) {
  return call.self.is_bool();
}
Value is_literally_true(const Call& call) {
  return call.self.is_bool() && is_true(call.self);
}
Value is_literally_false(const Call& call) {
  return call.self.is_bool() && !is_true(call.self);
}
Value is_integer(const Call& call) {
  return call.self.is_integral() && !call.self.is_bool();
}
Value is_floating(const Call& call) {
  return call.self.is_float();
}
Value is_number(const Call& call) {
  return call.self.is_number();
}
Value is_string(const Call& call) {
  return call.self.text() != nullptr;
}
Value is_mapping(const Call& call) {
  return call.self.map() != nullptr;
}
Value is_callable(const Call& call) {
  return call.self.is_callable();
}
Value is_iterable(const Call& call) {
  return call.self.text() != nullptr || call.self.map() != nullptr ||
         call.self.sequence() != nullptr || call.self.is_undefined();
}
// What has a length and positions or keys. As in Jinja, an undefined value passes too.
Value is_sequence(const Call& call) {
  const Sequence* sequence = call.self.sequence();
  return call.self.text() != nullptr || call.self.map() != nullptr || call.self.is_undefined() ||
         (sequence != nullptr && sequence->has_positions());
}

bool divides(const Call& call, int64_t divisor, int64_t remainder) {
  return equal(binary(call.runtime, "%", call.self, divisor), Value(remainder));
}
Value is_odd(const Call& call) {
  return divides(call, 2, 1);
}
Value is_even(const Call& call) {
  return divides(call, 2, 0);
}
Value is_divisible(const Call& call) {
  return equal(binary(call.runtime, "%", call.self, call[0]), Value(0));
}

Value is_lower_case(const Call& call) {
  return is_lower(text_of(call.runtime, call.self));
}
Value is_upper_case(const Call& call) {
  return is_upper(text_of(call.runtime, call.self));
}

template <Comparison kComparison>
Value compares(const Call& call) {
  return compare(call.runtime, kComparison, call.self, call[0]);
}

Value is_same(const Call& call) {
  const Value& other = call[0];
  const bool same_type = call.self.storage().index() == other.storage().index();
  return same_type && equal(call.self, other);
}

Value is_filter(const Call& call) {
  return find_filter(call.self_text()) != nullptr;
}
Value is_test(const Call& call) {
  return find_test(call.self_text()) != nullptr;
}

constexpr Builtin kTests[] = {
    {"!=", "other", 1, compares<Comparison::kNotEqual>},
    {"<", "other", 1, compares<Comparison::kLess>},
    {"<=", "other", 1, compares<Comparison::kLessEqual>},
    {"==", "other", 1, compares<Comparison::kEqual>},
    {">", "other", 1, compares<Comparison::kGreater>},
    {">=", "other", 1, compares<Comparison::kGreaterEqual>},
    {"boolean", "", 0, is_boolean},
    {"callable", "", 0, is_callable},
    {"defined", "", 0, is_defined},
    {"divisibleby", "num", 1, is_divisible},
    {"eq", "other", 1, compares<Comparison::kEqual>},
    {"equalto", "other", 1, compares<Comparison::kEqual>},
    {"even", "", 0, is_even},
    {"false", "", 0, is_literally_false},
    {"filter", "", 0, is_filter},
    {"float", "", 0, is_floating},
    {"ge", "other", 1, compares<Comparison::kGreaterEqual>},
    {"greaterthan", "other", 1, compares<Comparison::kGreater>},
    {"gt", "other", 1, compares<Comparison::kGreater>},
    {"in", "seq", 1, compares<Comparison::kIn>},
    {"integer", "", 0, is_integer},
    {"iterable", "", 0, is_iterable},
    {"le", "other", 1, compares<Comparison::kLessEqual>},
    {"lessthan", "other", 1, compares<Comparison::kLess>},
    {"lower", "", 0, is_lower_case},
    {"lt", "other", 1, compares<Comparison::kLess>},
    {"mapping", "", 0, is_mapping},
    {"ne", "other", 1, compares<Comparison::kNotEqual>},
    {"none", "", 0, is_none},
    {"number", "", 0, is_number},
    {"odd", "", 0, is_odd},
    {"sameas", "other", 1, is_same},
    {"sequence", "", 0, is_sequence},
    {"string", "", 0, is_string},
    {"test", "", 0, is_test},
    {"true", "", 0, is_literally_true},
    {"undefined", "", 0, is_undefined},
    {"upper", "", 0, is_upper_case},
};

}  // namespace

const Builtin* find_test(std::string_view name) {
  return find_builtin(kTests, name);
}

}  // namespace lychee::text::jinja
