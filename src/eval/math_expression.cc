#include "eval/math_expression.h"

#include <array>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <numbers>
#include <string>

#include "samples/random.h"

namespace lychee::eval {
namespace {

using Value = std::complex<double>;

bool is_digit(char c) {
  return std::isdigit(static_cast<unsigned char>(c)) != 0;
}
bool is_letter(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) != 0;
}

// Thrown and caught within this file.
struct NoExpression {};

class Parser {
 public:
  Parser(std::string_view text, uint64_t round) : rest_(text), round_(round) {}

  Value parse() {
    const Value value = sum();
    skip();
    if (!rest_.empty()) {
      throw NoExpression();
    }
    return value;
  }

 private:
  static constexpr int kDeepest = 64;

  void skip() {
    while (!rest_.empty() && std::isspace(static_cast<unsigned char>(rest_.front())) != 0) {
      rest_.remove_prefix(1);
    }
  }
  bool take(std::string_view token) {
    skip();
    if (!rest_.starts_with(token)) {
      return false;
    }
    // \sin is not \sinh, and in is not a part of sin.
    if (is_letter(token.back()) && token.size() > 1 && rest_.size() > token.size() &&
        is_letter(rest_[token.size()])) {
      return false;
    }
    rest_.remove_prefix(token.size());
    return true;
  }
  void expect(std::string_view token) {
    if (!take(token)) {
      throw NoExpression();
    }
  }

  Value sum() {
    if (++depth_ > kDeepest) {
      throw NoExpression();
    }
    Value value = take("-") ? -product() : (static_cast<void>(take("+")), product());
    for (;;) {
      if (take("+")) {
        value += product();
      } else if (take("-")) {
        value -= product();
      } else {
        --depth_;
        return value;
      }
    }
  }

  Value product() {
    Value value = power();
    for (;;) {
      if (take("*") || take("\\cdot") || take("\\times")) {
        value *= signed_power();
      } else if (take("/") || take("\\div")) {
        value /= signed_power();
      } else if (begins_factor()) {
        value *= power();
      } else {
        return value;
      }
    }
  }

  Value signed_power() { return take("-") ? -power() : power(); }

  bool begins_factor() {
    skip();
    if (rest_.empty()) {
      return false;
    }
    if (rest_.front() == '\\') {
      return !rest_.starts_with("\\right") && !rest_.starts_with("\\}");
    }
    return is_letter(rest_.front()) || is_digit(rest_.front()) || rest_.front() == '(' ||
           rest_.front() == '{';
  }

  Value power() {
    Value value = atom();
    for (;;) {
      if (take("^") || take("**")) {
        const Value exponent = group();
        value = std::pow(value, exponent);
      } else if (take("!")) {
        value = std::tgamma(value.real() + 1);
      } else {
        return value;
      }
    }
  }

  // What \frac, \sqrt and ^ take: braces, or one sign.
  Value group() {
    skip();
    if (take("{")) {
      const Value value = sum();
      expect("}");
      return value;
    }
    if (take("-")) {
      return -group();
    }
    if (!rest_.empty() && is_digit(rest_.front())) {
      // LaTeX takes one digit, plain notation (2^10) all of them; the latter is what people mean.
      return number();
    }
    return atom();
  }
  // As group, of one digit: \frac12.
  Value short_group() {
    skip();
    if (!rest_.empty() && is_digit(rest_.front())) {
      const Value value = rest_.front() - '0';
      rest_.remove_prefix(1);
      return value;
    }
    return group();
  }

  Value number() {
    std::string digits;
    while (!rest_.empty()) {
      if (is_digit(rest_.front()) || rest_.front() == '.') {
        digits += rest_.front();
        rest_.remove_prefix(1);
      } else if (rest_.starts_with("{,}")) {
        rest_.remove_prefix(3);
      } else {
        break;
      }
    }
    if (digits.empty() || digits == ".") {
      throw NoExpression();
    }
    return std::strtod(digits.c_str(), nullptr);
  }

  Value bracketed(std::string_view end) {
    const Value value = sum();
    expect(end);
    return value;
  }

  Value atom() {
    skip();
    if (rest_.empty()) {
      throw NoExpression();
    }
    if (is_digit(rest_.front()) || rest_.front() == '.') {
      return number();
    }
    constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kBrackets{
        {{"(", ")"}, {"{", "}"}, {"[", "]"}, {"|", "|"}}};
    for (const auto& [begin, end] : kBrackets) {
      if (take(begin)) {
        const Value value = bracketed(end);
        return begin == "|" ? Value(std::abs(value)) : value;
      }
    }
    return take("\\frac") ? fraction() : named();
  }

  Value fraction() {
    const Value above = short_group();
    return above / short_group();
  }

  Value named() {
    if (take("\\sqrt") || take("sqrt")) {
      if (take("[")) {
        const Value root = bracketed("]");
        return std::pow(short_group(), 1.0 / root);
      }
      return std::sqrt(short_group());
    }
    if (take("\\pi") || take("pi")) {
      return std::numbers::pi;
    }
    if (take("\\infty")) {
      return std::numeric_limits<double>::infinity();
    }
    using Function = Value (*)(const Value&);
    constexpr std::array<std::pair<std::string_view, Function>, 6> kFunctions{
        {{"sin", [](const Value& x) { return std::sin(x); }},
         {"cos", [](const Value& x) { return std::cos(x); }},
         {"tan", [](const Value& x) { return std::tan(x); }},
         {"ln", [](const Value& x) { return std::log(x); }},
         {"log", [](const Value& x) { return std::log(x); }},
         {"exp", [](const Value& x) { return std::exp(x); }}}};
    for (const auto& [name, function] : kFunctions) {
      if (take("\\" + std::string(name)) || take(name)) {
        if (name == "log" && take("_")) {
          const Value base = short_group();
          return std::log(power()) / std::log(base);
        }
        const Value exponent = take("^") ? group() : Value(1);
        return std::pow(function(power()), exponent);
      }
    }
    return letter();
  }

  // A letter or a Greek name, with an index.
  Value letter() {
    std::string name;
    if (take("\\")) {
      name = "\\";
      while (!rest_.empty() && is_letter(rest_.front())) {
        name += rest_.front();
        rest_.remove_prefix(1);
      }
      constexpr std::string_view kGreek =
          " alpha beta gamma delta epsilon theta lambda mu rho sigma tau phi omega ";
      if (kGreek.find(" " + name.substr(1) + " ") == std::string_view::npos) {
        throw NoExpression();
      }
    } else if (is_letter(rest_.front())) {
      name = rest_.front();
      rest_.remove_prefix(1);
    } else {
      throw NoExpression();
    }
    if (take("_")) {
      name += "_" + std::to_string(short_group().real());
    }
    if (name == "e") {
      return std::numbers::e;
    }
    if (name == "i") {
      return Value(0, 1);
    }
    uint64_t state = round_;
    for (const char c : name) {
      state = samples::Random(state ^ static_cast<unsigned char>(c)).next();
    }
    return 0.5 + samples::Random(state).share();
  }

  std::string_view rest_;
  uint64_t round_;
  int depth_ = 0;
};

}  // namespace

std::optional<std::complex<double>> evaluate(std::string_view expression, uint64_t round) {
  try {
    return Parser(expression, round).parse();
  } catch (const NoExpression&) {
    return std::nullopt;
  }
}

}  // namespace lychee::eval
