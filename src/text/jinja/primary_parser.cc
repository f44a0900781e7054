#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "text/jinja/expr_factory.h"
#include "text/jinja/expression_parser.h"
#include "text/jinja/limits.h"

namespace lychee::text::jinja {
namespace {

// Long sums and chains of filters nest to the left; twice the room of brackets is plenty.
constexpr int kMaxExprDepth = 2 * kMaxSyntaxDepth;

void include_depth(Expr& expr, const Expr* part) {
  if (part != nullptr) {
    expr.depth = std::max(expr.depth, part->depth + 1);
    require(expr.depth <= kMaxExprDepth, ErrorCode::kUnsupported,
            "chat template: an expression of line ", expr.line, " is nested deeper than ",
            kMaxExprDepth, " levels");
  }
}

bool is_reserved(std::string_view name) {
  return name == "true" || name == "false" || name == "none" || name == "True" || name == "False" ||
         name == "None";
}

}  // namespace

void add_operand(Expr& expr, ExprPtr operand) {
  include_depth(expr, operand.get());
  expr.operands.push_back(std::move(operand));
}

void set_arguments(Expr& expr, std::vector<Argument> arguments) {
  for (const Argument& argument : arguments) {
    include_depth(expr, argument.value.get());
  }
  expr.arguments = std::move(arguments);
}

ExprPtr make_literal(int line, Value value) {
  ExprPtr literal = make_expr(ExprKind::kLiteral, line);
  literal->literal = std::move(value);
  return literal;
}

ExpressionParser::Nesting::Nesting(ExpressionParser& parser) : parser_(parser) {
  require(parser_.nesting_ < kMaxSyntaxDepth, ErrorCode::kUnsupported, "chat template: line ",
          parser_.tokens_.line(), " is nested deeper than ", kMaxSyntaxDepth, " levels");
  ++parser_.nesting_;
}

ExprPtr ExpressionParser::parse_primary() {
  const Token& token = tokens_.current();
  switch (token.kind) {
    case TokenKind::kName:
      return parse_name();
    case TokenKind::kString: {
      std::string text;
      while (tokens_.is(TokenKind::kString)) {
        text += tokens_.take().text;
      }
      return make_literal(token.line, std::move(text));
    }
    case TokenKind::kInteger: {
      int64_t value = 0;
      std::from_chars(token.text.data(), token.text.data() + token.text.size(), value);
      return make_literal(tokens_.take().line, value);
    }
    case TokenKind::kFloat: {
      double value = 0;
      std::from_chars(token.text.data(), token.text.data() + token.text.size(), value);
      return make_literal(tokens_.take().line, value);
    }
    default:
      break;
  }
  if (tokens_.is_operator("(")) {
    return parse_parenthesized();
  }
  if (tokens_.is_operator("[")) {
    return parse_list();
  }
  if (tokens_.is_operator("{")) {
    return parse_dict();
  }
  tokens_.fail_unexpected("an expression");
}

ExprPtr ExpressionParser::parse_name() {
  const Token& token = tokens_.take();
  if (token.text == "true" || token.text == "True") {
    return make_literal(token.line, true);
  }
  if (token.text == "false" || token.text == "False") {
    return make_literal(token.line, false);
  }
  if (is_reserved(token.text)) {
    return make_literal(token.line, Value::none());
  }
  ExprPtr name = make_expr(ExprKind::kName, token.line);
  name->name = token.text;
  return name;
}

ExprPtr ExpressionParser::parse_parenthesized() {
  const int line = tokens_.take().line;
  ExprPtr value = tokens_.is_operator(")") ? make_expr(ExprKind::kTuple, line) : parse_tuple(true);
  tokens_.expect_operator(")");
  return value;
}

ExprPtr ExpressionParser::parse_tuple(bool with_condition) {
  const auto parse_item = [&] {
    return with_condition ? parse_expression() : parse_without_condition();
  };
  ExprPtr first = parse_item();
  if (!tokens_.is_operator(",")) {
    return first;
  }
  ExprPtr tuple = make_expr(ExprKind::kTuple, first->line, std::move(first));
  while (tokens_.take_operator(",")) {
    if (tokens_.is_operator(")") || tokens_.is(TokenKind::kBlockEnd) ||
        tokens_.is(TokenKind::kOutputEnd)) {
      break;
    }
    add_operand(*tuple, parse_item());
  }
  return tuple;
}

ExprPtr ExpressionParser::parse_list() {
  ExprPtr list = make_expr(ExprKind::kList, tokens_.take().line);
  while (!tokens_.take_operator("]")) {
    add_operand(*list, parse_expression());
    if (!tokens_.is_operator("]")) {
      tokens_.expect_operator(",");
    }
  }
  return list;
}

ExprPtr ExpressionParser::parse_dict() {
  ExprPtr dict = make_expr(ExprKind::kDict, tokens_.take().line);
  while (!tokens_.take_operator("}")) {
    add_operand(*dict, parse_expression());
    tokens_.expect_operator(":");
    add_operand(*dict, parse_expression());
    if (!tokens_.is_operator("}")) {
      tokens_.expect_operator(",");
    }
  }
  return dict;
}

ExprPtr ExpressionParser::parse_attribute(ExprPtr operand) {
  const int line = tokens_.take().line;
  if (tokens_.is(TokenKind::kInteger)) {
    return make_expr(ExprKind::kItem, line, std::move(operand), parse_primary());
  }
  const Token& name = tokens_.expect(TokenKind::kName, "the name of an attribute");
  ExprPtr attribute = make_expr(ExprKind::kAttribute, line, std::move(operand));
  attribute->name = name.text;
  return attribute;
}

ExprPtr ExpressionParser::parse_subscript(ExprPtr operand) {
  const int line = tokens_.take().line;
  Exprs parts;  // of a slice; one alone is an index
  bool is_slice = false;
  for (int i = 0; i < 3; ++i) {
    const bool empty = tokens_.is_operator(":") || tokens_.is_operator("]");
    parts.push_back(empty ? nullptr : parse_expression());
    if (i == 2 || !tokens_.take_operator(":")) {
      break;
    }
    is_slice = true;
  }
  if (tokens_.is_operator(",")) {
    fail(ErrorCode::kUnsupported, "chat template: an index of several parts in line ", line,
         " is not supported");
  }
  tokens_.expect_operator("]");
  if (is_slice) {
    parts.resize(3);
    return make_expr(ExprKind::kSlice, line, std::move(operand), std::move(parts[0]),
                     std::move(parts[1]), std::move(parts[2]));
  }
  require(parts[0] != nullptr, ErrorCode::kInvalidArgument, "chat template: line ", line,
          " has an empty index");
  return make_expr(ExprKind::kItem, line, std::move(operand), std::move(parts[0]));
}

std::vector<Argument> ExpressionParser::parse_arguments() {
  tokens_.expect_operator("(");
  std::vector<Argument> arguments;
  while (!tokens_.take_operator(")")) {
    require(!tokens_.is_operator("*") && !tokens_.is_operator("**"), ErrorCode::kUnsupported,
            "chat template: unpacked arguments (* or **) in line ", tokens_.line(),
            " are not supported");
    Argument argument;
    const bool named = tokens_.is(TokenKind::kName) &&
                       tokens_.next().kind == TokenKind::kOperator && tokens_.next().text == "=";
    if (named) {
      argument.name = tokens_.take().text;
      tokens_.take();
    } else if (!arguments.empty() && !arguments.back().name.empty()) {
      tokens_.fail_unexpected("a named argument after another");
    }
    argument.value = parse_expression();
    arguments.push_back(std::move(argument));
    if (!tokens_.is_operator(")")) {
      tokens_.expect_operator(",");
    }
  }
  return arguments;
}

ExprPtr ExpressionParser::parse_single_target(bool with_attribute) {
  const Nesting nesting(*this);
  if (tokens_.take_operator("(")) {
    ExprPtr inner = parse_target(with_attribute);
    tokens_.expect_operator(")");
    return inner;
  }
  const Token& token = tokens_.expect(TokenKind::kName, "a name to assign to");
  require(!is_reserved(token.text), ErrorCode::kInvalidArgument, "chat template: line ", token.line,
          " assigns to '", token.text, "'");
  ExprPtr target = make_expr(ExprKind::kName, token.line);
  target->name = token.text;
  if (with_attribute && tokens_.is_operator(".")) {
    target = parse_attribute(std::move(target));
    require(target->kind == ExprKind::kAttribute, ErrorCode::kInvalidArgument,
            "chat template: line ", token.line, " assigns to a position");
  }
  return target;
}

ExprPtr ExpressionParser::parse_target(bool with_attribute) {
  ExprPtr first = parse_single_target(with_attribute);
  if (!tokens_.is_operator(",")) {
    return first;
  }
  ExprPtr tuple = make_expr(ExprKind::kTuple, first->line, std::move(first));
  while (tokens_.take_operator(",")) {
    if (tokens_.is_name("in") || tokens_.is_operator("=") || tokens_.is_operator(")")) {
      break;
    }
    add_operand(*tuple, parse_single_target(with_attribute));
  }
  return tuple;
}

}  // namespace lychee::text::jinja
