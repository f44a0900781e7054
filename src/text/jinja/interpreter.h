#pragma once

#include <memory>
#include <string>

#include "text/jinja/arguments.h"
#include "text/jinja/ast.h"
#include "text/jinja/runtime.h"
#include "text/jinja/scope.h"

namespace lychee::text::jinja {

// Renders a template once.
class Interpreter {
 public:
  explicit Interpreter(const Limits& limits) : runtime_(limits) {}

  // `variables` is a dict. Throws Error(kInvalidArgument) with the line, RaisedException without.
  [[nodiscard]] std::string render(const Body& body, const Value& variables);

 private:
  class Level;
  enum class Flow { kOn, kBreak, kContinue };

  // Expressions.
  Value evaluate(const Expr& expr);
  Value evaluate_optional(const ExprPtr& expr);  // undefined when null
  Value evaluate_operation(const Expr& expr);
  Value evaluate_name(const Expr& expr);
  Value evaluate_container(const Expr& expr);
  Value evaluate_comparison(const Expr& expr);
  Value evaluate_concat(const Expr& expr);
  Value evaluate_slice(const Expr& expr);
  Value evaluate_filter(const Expr& expr, const Value& input);
  Value evaluate_test(const Expr& expr);
  // `input` goes through the chain of filters whose head has no operand; as it is for null.
  Value apply_filters(const Expr* chain, const Value& input);
  Arguments evaluate_arguments(const Expr& expr);
  Value call(const Value& callee, Arguments arguments);
  Value call_macro(const Macro& macro, Arguments arguments);

  // Statements.
  Flow execute(const Body& body);
  Flow execute(const Node& node);
  Flow execute_for(const Node& node);
  Values loop_items(const Node& node);
  void execute_call(const Node& node);
  void assign(const Expr& target, const Value& value);
  void bind_parameters(const Node& macro, Arguments arguments);
  void write(std::string_view text);
  // What the body writes, in a scope of its own within `around`.
  std::string capture(const Body& body, std::shared_ptr<Scope> scope);
  Flow execute_within(const Body& body, std::shared_ptr<Scope> scope);

  Runtime runtime_;
  std::shared_ptr<Scope> scope_;
  std::string* output_ = nullptr;
  int line_ = 1;
  int depth_ = 0;
};

}  // namespace lychee::text::jinja
