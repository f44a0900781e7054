#pragma once

#include "text/jinja/ast.h"
#include "text/jinja/token_stream.h"

namespace lychee::text::jinja {

// Expressions, by recursive descent with Jinja's precedence (loosest first): if, or, and, not,
// comparison, + -, ~, * / // %, **, unary and postfix, filters and tests.
class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& tokens) : tokens_(tokens) {}

  [[nodiscard]] ExprPtr parse_expression();
  // One without an inline `if`, which a loop's header needs for its filter.
  [[nodiscard]] ExprPtr parse_without_condition();
  // One, or a tuple of several separated by commas.
  [[nodiscard]] ExprPtr parse_tuple(bool with_condition);
  // What is assigned to: a name, `name.attribute` if allowed, or a tuple of those.
  [[nodiscard]] ExprPtr parse_target(bool with_attribute);
  [[nodiscard]] std::vector<Argument> parse_arguments();
  // `name(…) | name | …`, applied to `input` (null: to a block's text).
  [[nodiscard]] ExprPtr parse_filters(ExprPtr input);

 private:
  // Counts the levels of recursion, which brackets and prefix operators make.
  class Nesting {
   public:
    explicit Nesting(ExpressionParser& parser);
    ~Nesting() { --parser_.nesting_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    ExpressionParser& parser_;
  };

  ExprPtr parse_or();
  ExprPtr parse_and();
  ExprPtr parse_not();
  ExprPtr parse_comparison();
  ExprPtr parse_sum();
  ExprPtr parse_concat();
  ExprPtr parse_product();
  ExprPtr parse_power();
  ExprPtr parse_unary(bool with_filters);
  ExprPtr parse_primary();
  ExprPtr parse_name();
  ExprPtr parse_parenthesized();
  ExprPtr parse_list();
  ExprPtr parse_dict();
  ExprPtr parse_postfix(ExprPtr operand);
  ExprPtr parse_filters_and_tests(ExprPtr operand);
  ExprPtr parse_attribute(ExprPtr operand);
  ExprPtr parse_subscript(ExprPtr operand);
  ExprPtr parse_test(ExprPtr operand);
  ExprPtr parse_single_target(bool with_attribute);
  bool take_comparison(Comparison& comparison);

  TokenStream& tokens_;
  int nesting_ = 0;
};

}  // namespace lychee::text::jinja
