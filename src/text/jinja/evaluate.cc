#include "base/check.h"
#include "text/jinja/filters.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/level.h"
#include "text/jinja/methods.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_functions.h"

namespace lychee::text::jinja {

Value Interpreter::evaluate_optional(const ExprPtr& expr) {
  return expr != nullptr ? evaluate(*expr) : Value();
}

Value Interpreter::evaluate(const Expr& expr) {
  const Level level(*this);
  runtime_.charge_steps(1);
  line_ = expr.line;
  switch (expr.kind) {
    case ExprKind::kLiteral:
      return expr.literal;
    case ExprKind::kName:
      return evaluate_name(expr);
    case ExprKind::kList:
    case ExprKind::kTuple:
    case ExprKind::kDict:
      return evaluate_container(expr);
    case ExprKind::kAnd: {
      Value left = evaluate(*expr.operands[0]);
      return is_true(left) ? evaluate(*expr.operands[1]) : left;
    }
    case ExprKind::kOr: {
      Value left = evaluate(*expr.operands[0]);
      return is_true(left) ? left : evaluate(*expr.operands[1]);
    }
    case ExprKind::kConditional:
      return is_true(evaluate(*expr.operands[1])) ? evaluate(*expr.operands[0])
                                                  : evaluate_optional(expr.operands[2]);
    case ExprKind::kCompare:
      return evaluate_comparison(expr);
    case ExprKind::kConcat:
      return evaluate_concat(expr);
    case ExprKind::kSlice:
      return evaluate_slice(expr);
    case ExprKind::kCall: {
      const Value callee = evaluate(*expr.operands[0]);
      return call(callee, evaluate_arguments(expr));
    }
    case ExprKind::kFilter:
      return evaluate_filter(expr, evaluate(*expr.operands[0]));
    case ExprKind::kTest:
      return evaluate_test(expr);
    default:
      return evaluate_operation(expr);
  }
}

Value Interpreter::evaluate_operation(const Expr& expr) {
  const Value operand = evaluate(*expr.operands[0]);
  switch (expr.kind) {
    case ExprKind::kNot:
      return !is_true(operand);
    case ExprKind::kNegate:
      return negate(operand);
    case ExprKind::kPlus:
      require(operand.is_number(), ErrorCode::kInvalidArgument, "'+' has no meaning before a ",
              type_name(operand));
      return operand.is_bool() ? Value(*operand.integer()) : operand;
    case ExprKind::kAttribute:
      return attribute(operand, expr.name);
    case ExprKind::kItem:
      return item(operand, evaluate(*expr.operands[1]));
    default:
      return binary(runtime_, expr.name, operand, evaluate(*expr.operands[1]));
  }
}

Value Interpreter::evaluate_name(const Expr& expr) {
  if (const Value* found = scope_->find(expr.name)) {
    return *found;
  }
  const Builtin* function = find_function(expr.name);
  return function != nullptr ? Value(Value::Storage(Function{function->name}))
                             : Value::undefined("'" + expr.name + "'");
}

Value Interpreter::evaluate_container(const Expr& expr) {
  Values items;
  for (const ExprPtr& operand : expr.operands) {
    items.push_back(evaluate(*operand));
  }
  if (expr.kind != ExprKind::kDict) {
    return make_sequence(std::move(items), expr.kind == ExprKind::kTuple ? SequenceKind::kTuple
                                                                         : SequenceKind::kList);
  }
  std::vector<std::pair<Value, Value>> entries;
  for (size_t i = 0; i < items.size(); i += 2) {
    entries.emplace_back(std::move(items[i]), std::move(items[i + 1]));
  }
  return make_map(std::move(entries));
}

Value Interpreter::evaluate_comparison(const Expr& expr) {
  Value left = evaluate(*expr.operands[0]);
  for (size_t i = 0; i < expr.comparisons.size(); ++i) {
    Value right = evaluate(*expr.operands[i + 1]);
    if (!compare(runtime_, expr.comparisons[i], left, right)) {
      return false;
    }
    left = std::move(right);
  }
  return true;
}

Value Interpreter::evaluate_concat(const Expr& expr) {
  Values parts;
  for (const ExprPtr& operand : expr.operands) {
    parts.push_back(evaluate(*operand));
  }
  return join(runtime_, parts, "", false);
}

Value Interpreter::evaluate_slice(const Expr& expr) {
  const Value operand = evaluate(*expr.operands[0]);
  const Value start = evaluate_optional(expr.operands[1]);
  const Value stop = evaluate_optional(expr.operands[2]);
  return slice(runtime_, operand, start, stop, evaluate_optional(expr.operands[3]));
}

Value Interpreter::evaluate_filter(const Expr& expr, const Value& input) {
  Arguments arguments = evaluate_arguments(expr);
  line_ = expr.line;
  return call_builtin(runtime_, *find_filter(expr.name), input, std::move(arguments));
}

Value Interpreter::apply_filters(const Expr* chain, const Value& input) {
  if (chain == nullptr) {
    return input;
  }
  const Level level(*this);
  return evaluate_filter(*chain, apply_filters(chain->operands[0].get(), input));
}

Value Interpreter::evaluate_test(const Expr& expr) {
  const Value operand = evaluate(*expr.operands[0]);
  Arguments arguments = evaluate_arguments(expr);
  line_ = expr.line;
  return call_builtin(runtime_, *find_test(expr.name), operand, std::move(arguments));
}

Arguments Interpreter::evaluate_arguments(const Expr& expr) {
  Arguments arguments;
  for (const Argument& argument : expr.arguments) {
    Value value = evaluate(*argument.value);
    if (argument.name.empty()) {
      arguments.positional.push_back(std::move(value));
    } else {
      arguments.named.emplace_back(argument.name, std::move(value));
    }
  }
  return arguments;
}

Value Interpreter::call(const Value& callee, Arguments arguments) {
  require_defined(callee);
  if (const auto* macro = callee.get_if<const Macro*>()) {
    return call_macro(**macro, std::move(arguments));
  }
  if (const auto* method = callee.get_if<std::shared_ptr<const BoundMethod>>()) {
    return call_method(runtime_, **method, std::move(arguments));
  }
  const auto* function = callee.get_if<Function>();
  require(function != nullptr, ErrorCode::kInvalidArgument, "a ", type_name(callee),
          " cannot be called");
  return call_builtin(runtime_, *find_function(function->name), Value(), std::move(arguments));
}

}  // namespace lychee::text::jinja
