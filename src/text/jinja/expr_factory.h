#pragma once

#include <utility>

#include "text/jinja/ast.h"

namespace lychee::text::jinja {

// Adds an operand (may be null). Throws Error(kUnsupported) when the expression gets deeper than
// kMaxSyntaxDepth allows: evaluation and destruction recurse over it.
void add_operand(Expr& expr, ExprPtr operand);
void set_arguments(Expr& expr, std::vector<Argument> arguments);

template <typename... Operands>
[[nodiscard]] ExprPtr make_expr(ExprKind kind, int line, Operands&&... operands) {
  auto expr = std::make_unique<Expr>();
  expr->kind = kind;
  expr->line = line;
  (add_operand(*expr, std::forward<Operands>(operands)), ...);
  return expr;
}

[[nodiscard]] ExprPtr make_literal(int line, Value value);

}  // namespace lychee::text::jinja
