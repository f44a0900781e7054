#include "text/jinja/expression_parser.h"

#include <array>

#include "text/jinja/expr_factory.h"

namespace lychee::text::jinja {

ExprPtr ExpressionParser::parse_expression() {
  const Nesting nesting(*this);
  ExprPtr value = parse_or();
  while (tokens_.is_name("if")) {
    const int line = tokens_.take().line;
    ExprPtr condition = parse_or();
    ExprPtr otherwise = tokens_.take_name("else") ? parse_expression() : nullptr;
    value = make_expr(ExprKind::kConditional, line, std::move(value), std::move(condition),
                      std::move(otherwise));
  }
  return value;
}

ExprPtr ExpressionParser::parse_without_condition() {
  const Nesting nesting(*this);
  return parse_or();
}

ExprPtr ExpressionParser::parse_or() {
  ExprPtr left = parse_and();
  while (tokens_.is_name("or")) {
    const int line = tokens_.take().line;
    left = make_expr(ExprKind::kOr, line, std::move(left), parse_and());
  }
  return left;
}

ExprPtr ExpressionParser::parse_and() {
  ExprPtr left = parse_not();
  while (tokens_.is_name("and")) {
    const int line = tokens_.take().line;
    left = make_expr(ExprKind::kAnd, line, std::move(left), parse_not());
  }
  return left;
}

ExprPtr ExpressionParser::parse_not() {
  if (!tokens_.is_name("not")) {
    return parse_comparison();
  }
  const Nesting nesting(*this);
  const int line = tokens_.take().line;
  return make_expr(ExprKind::kNot, line, parse_not());
}

bool ExpressionParser::take_comparison(Comparison& comparison) {
  static constexpr std::array<std::pair<std::string_view, Comparison>, 6> kOperators = {{
      {"==", Comparison::kEqual},
      {"!=", Comparison::kNotEqual},
      {"<", Comparison::kLess},
      {"<=", Comparison::kLessEqual},
      {">", Comparison::kGreater},
      {">=", Comparison::kGreaterEqual},
  }};
  for (const auto& [op, meaning] : kOperators) {
    if (tokens_.take_operator(op)) {
      comparison = meaning;
      return true;
    }
  }
  if (tokens_.is_name("not") && tokens_.next().kind == TokenKind::kName &&
      tokens_.next().text == "in") {
    tokens_.take();
    tokens_.take();
    comparison = Comparison::kNotIn;
    return true;
  }
  comparison = Comparison::kIn;
  return tokens_.take_name("in");
}

ExprPtr ExpressionParser::parse_comparison() {
  ExprPtr first = parse_sum();
  Comparison comparison{};
  const int line = tokens_.line();
  if (!take_comparison(comparison)) {
    return first;
  }
  ExprPtr chain = make_expr(ExprKind::kCompare, line, std::move(first));
  do {
    chain->comparisons.push_back(comparison);
    add_operand(*chain, parse_sum());
  } while (take_comparison(comparison));
  return chain;
}

ExprPtr ExpressionParser::parse_sum() {
  ExprPtr left = parse_concat();
  while (tokens_.is_operator("+") || tokens_.is_operator("-")) {
    const Token& op = tokens_.take();
    left = make_expr(ExprKind::kBinary, op.line, std::move(left), parse_concat());
    left->name = op.text;
  }
  return left;
}

ExprPtr ExpressionParser::parse_concat() {
  ExprPtr first = parse_product();
  if (!tokens_.is_operator("~")) {
    return first;
  }
  ExprPtr all = make_expr(ExprKind::kConcat, tokens_.line(), std::move(first));
  while (tokens_.take_operator("~")) {
    add_operand(*all, parse_product());
  }
  return all;
}

ExprPtr ExpressionParser::parse_product() {
  ExprPtr left = parse_power();
  while (tokens_.is_operator("*") || tokens_.is_operator("/") || tokens_.is_operator("//") ||
         tokens_.is_operator("%")) {
    const Token& op = tokens_.take();
    left = make_expr(ExprKind::kBinary, op.line, std::move(left), parse_power());
    left->name = op.text;
  }
  return left;
}

ExprPtr ExpressionParser::parse_power() {
  ExprPtr left = parse_unary(true);
  while (tokens_.is_operator("**")) {
    const int line = tokens_.take().line;
    left = make_expr(ExprKind::kBinary, line, std::move(left), parse_unary(true));
    left->name = "**";
  }
  return left;
}

ExprPtr ExpressionParser::parse_unary(bool with_filters) {
  ExprPtr operand;
  if (tokens_.is_operator("-") || tokens_.is_operator("+")) {
    const Nesting nesting(*this);
    const Token& op = tokens_.take();
    const ExprKind kind = op.text == "-" ? ExprKind::kNegate : ExprKind::kPlus;
    operand = make_expr(kind, op.line, parse_unary(false));
  } else {
    operand = parse_primary();
  }
  operand = parse_postfix(std::move(operand));
  return with_filters ? parse_filters_and_tests(std::move(operand)) : std::move(operand);
}

ExprPtr ExpressionParser::parse_postfix(ExprPtr operand) {
  for (;;) {
    if (tokens_.is_operator(".")) {
      operand = parse_attribute(std::move(operand));
    } else if (tokens_.is_operator("[")) {
      operand = parse_subscript(std::move(operand));
    } else if (tokens_.is_operator("(")) {
      operand = make_expr(ExprKind::kCall, tokens_.line(), std::move(operand));
      set_arguments(*operand, parse_arguments());
    } else {
      return operand;
    }
  }
}

ExprPtr ExpressionParser::parse_filters_and_tests(ExprPtr operand) {
  for (;;) {
    if (tokens_.take_operator("|")) {
      operand = parse_filters(std::move(operand));
    } else if (tokens_.is_name("is")) {
      operand = parse_test(std::move(operand));
    } else if (tokens_.is_operator("(")) {
      operand = make_expr(ExprKind::kCall, tokens_.line(), std::move(operand));
      set_arguments(*operand, parse_arguments());
    } else {
      return operand;
    }
  }
}

ExprPtr ExpressionParser::parse_filters(ExprPtr input) {
  do {
    const Token& name = tokens_.expect(TokenKind::kName, "the name of a filter");
    input = make_expr(ExprKind::kFilter, name.line, std::move(input));
    input->name = name.text;
    if (tokens_.is_operator("(")) {
      set_arguments(*input, parse_arguments());
    }
  } while (tokens_.take_operator("|"));
  return input;
}

ExprPtr ExpressionParser::parse_test(ExprPtr operand) {
  const int line = tokens_.take().line;
  const bool negated = tokens_.take_name("not");
  const Token& name = tokens_.expect(TokenKind::kName, "the name of a test");
  ExprPtr test = make_expr(ExprKind::kTest, line, std::move(operand));
  test->name = name.text;
  const bool ends = tokens_.is_name("else") || tokens_.is_name("or") || tokens_.is_name("and");
  const bool value_follows = tokens_.is(TokenKind::kName) || tokens_.is(TokenKind::kString) ||
                             tokens_.is(TokenKind::kInteger) || tokens_.is(TokenKind::kFloat) ||
                             tokens_.is_operator("[") || tokens_.is_operator("{");
  if (tokens_.is_operator("(")) {
    set_arguments(*test, parse_arguments());
  } else if (value_follows && !ends) {
    if (tokens_.is_name("is")) {
      tokens_.fail_unexpected("no second 'is'");
    }
    std::vector<Argument> arguments;
    arguments.push_back({.name = "", .value = parse_postfix(parse_primary())});
    set_arguments(*test, std::move(arguments));
  }
  return negated ? make_expr(ExprKind::kNot, line, std::move(test)) : std::move(test);
}

}  // namespace lychee::text::jinja
