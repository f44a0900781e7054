#include "text/jinja/operators.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace lychee::text::jinja {
namespace {

[[noreturn]] void fail_overflow() {
  fail(ErrorCode::kInvalidArgument, "an integer of the template leaves 64 bits");
}

[[noreturn]] void fail_types(std::string_view op, const Value& left, const Value& right) {
  fail(ErrorCode::kInvalidArgument, "'", op, "' has no meaning between ", type_name(left), " and ",
       type_name(right));
}

// Division that rounds down, as Python's.
int64_t floor_divide(int64_t left, int64_t right) {
  if (right == -1) {
    if (left == INT64_MIN) {
      fail_overflow();
    }
    return -left;
  }
  const int64_t quotient = left / right;
  return left % right != 0 && (left < 0) != (right < 0) ? quotient - 1 : quotient;
}

double floor_modulo(double left, double right) {
  const double remainder = std::fmod(left, right);
  return remainder != 0 && (remainder < 0) != (right < 0) ? remainder + right : remainder;
}

int64_t power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) {
      fail_overflow();
    }
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) {
      fail_overflow();
    }
  }
  return result;
}

Value integer_binary(std::string_view op, int64_t left, int64_t right) {
  int64_t result = 0;
  bool overflow = false;
  if (op == "+") {
    overflow = __builtin_add_overflow(left, right, &result);
  } else if (op == "-") {
    overflow = __builtin_sub_overflow(left, right, &result);
  } else if (op == "*") {
    overflow = __builtin_mul_overflow(left, right, &result);
  } else if (op == "//") {
    result = floor_divide(left, right);
  } else if (op == "%") {
    // The remainder of the least integer by -1 traps, though it is 0.
    result = right == -1 ? 0 : left - floor_divide(left, right) * right;
  } else if (op == "**" && right >= 0) {
    result = power(left, right);
  } else {
    const auto a = static_cast<double>(left);
    const auto b = static_cast<double>(right);
    return op == "/" ? a / b : std::pow(a, b);
  }
  if (overflow) {
    fail_overflow();
  }
  return result;
}

Value number_binary(std::string_view op, const Value& left, const Value& right) {
  const bool divides = op == "/" || op == "//" || op == "%";
  require(!divides || right.number() != 0, ErrorCode::kInvalidArgument, "division by zero");
  require(op != "**" || left.number() != 0 || right.number() >= 0, ErrorCode::kInvalidArgument,
          "0 cannot be raised to a negative power");
  if (left.is_integral() && right.is_integral()) {
    return integer_binary(op, *left.integer(), *right.integer());
  }
  const double a = left.number();
  const double b = right.number();
  switch (op.front()) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return op == "*" ? a * b : std::pow(a, b);
    case '/':
      return op == "/" ? a / b : std::floor((a - floor_modulo(a, b)) / b + 0.5);
    default:
      return floor_modulo(a, b);
  }
}

bool is_joinable(const Sequence* sequence) {
  return sequence != nullptr &&
         (sequence->kind == SequenceKind::kList || sequence->kind == SequenceKind::kTuple);
}

Value repeat(Runtime& runtime, const Value& value, int64_t times) {
  times = std::max<int64_t>(times, 0);
  if (const std::string* text = value.text()) {
    require(times == 0 || std::ssize(*text) <= runtime.limits().produced_bytes / times,
            ErrorCode::kInvalidArgument, "a text repeated ", times, " times is too long");
    runtime.charge_bytes(std::ssize(*text) * times);
    std::string result;
    for (int64_t i = 0; i < times && !text->empty(); ++i) {
      result += *text;
    }
    return result;
  }
  const Sequence& sequence = *value.sequence();
  require(times == 0 || std::ssize(sequence.items) <= runtime.limits().steps / times,
          ErrorCode::kInvalidArgument, "a list repeated ", times, " times is too long");
  runtime.charge_steps(std::ssize(sequence.items) * times);
  Values items;
  for (int64_t i = 0; i < times && !sequence.items.empty(); ++i) {
    items.insert(items.end(), sequence.items.begin(), sequence.items.end());
  }
  return make_sequence(std::move(items), sequence.kind);
}

Value join_sequences(Runtime& runtime, const Sequence& left, const Sequence& right) {
  runtime.charge_steps(std::ssize(left.items) + std::ssize(right.items));
  Values items = left.items;
  items.insert(items.end(), right.items.begin(), right.items.end());
  return make_sequence(std::move(items), left.kind);
}

}  // namespace

Value binary(Runtime& runtime, std::string_view op, const Value& left, const Value& right) {
  require_defined(left);
  require_defined(right);
  if (left.is_number() && right.is_number()) {
    return number_binary(op, left, right);
  }
  const bool left_repeats = left.text() != nullptr || is_joinable(left.sequence());
  const bool right_repeats = right.text() != nullptr || is_joinable(right.sequence());
  if (op == "*" && left_repeats && right.is_integral()) {
    return repeat(runtime, left, *right.integer());
  }
  if (op == "*" && right_repeats && left.is_integral()) {
    return repeat(runtime, right, *left.integer());
  }
  if (op == "+" && left.text() != nullptr && right.text() != nullptr) {
    runtime.charge_bytes(std::ssize(*left.text()) + std::ssize(*right.text()));
    return *left.text() + *right.text();
  }
  if (op == "+" && is_joinable(left.sequence()) && is_joinable(right.sequence()) &&
      left.sequence()->kind == right.sequence()->kind) {
    return join_sequences(runtime, *left.sequence(), *right.sequence());
  }
  fail_types(op, left, right);
}

Value negate(const Value& value) {
  require_defined(value);
  if (const auto integer = value.integer()) {
    if (*integer == INT64_MIN) {
      fail_overflow();
    }
    return -*integer;
  }
  require(value.is_float(), ErrorCode::kInvalidArgument, "'-' has no meaning before a ",
          type_name(value));
  return -value.number();
}

bool contains(const Value& container, const Value& item) {
  if (const std::string* text = container.text()) {
    require(item.text() != nullptr, ErrorCode::kInvalidArgument, "a ", type_name(item),
            " cannot be looked for in a str");
    return text->find(*item.text()) != std::string::npos;
  }
  if (const Map* map = container.map()) {
    require(is_hashable(item), ErrorCode::kInvalidArgument, "a ", type_name(item),
            " cannot be the key of a dict");
    return map->find(item) != nullptr;
  }
  const Values items = iterate(container);
  return std::any_of(items.begin(), items.end(),
                     [&item](const Value& candidate) { return equal(candidate, item); });
}

bool compare(Runtime& runtime, Comparison comparison, const Value& left, const Value& right) {
  const int64_t left_weight = extent_of(left).weight;
  const int64_t right_weight = extent_of(right).weight;
  switch (comparison) {
    case Comparison::kIn:
      runtime.charge_bytes(right_weight);
      return contains(right, left);
    case Comparison::kNotIn:
      runtime.charge_bytes(right_weight);
      return !contains(right, left);
    default:
      runtime.charge_bytes(std::min(left_weight, right_weight));
  }
  switch (comparison) {
    case Comparison::kEqual:
      return equal(left, right);
    case Comparison::kNotEqual:
      return !equal(left, right);
    case Comparison::kLess:
      return less(left, right);
    case Comparison::kGreater:
      return less(right, left);
    case Comparison::kLessEqual:
      return less(left, right) || equal(left, right);
    default:
      return less(right, left) || equal(left, right);
  }
}

}  // namespace lychee::text::jinja
