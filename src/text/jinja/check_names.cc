#include <set>
#include <string>

#include "base/check.h"
#include "text/jinja/filters.h"
#include "text/jinja/methods.h"
#include "text/jinja/parser.h"

namespace lychee::text::jinja {
namespace {

using Names = std::set<std::string, std::less<>>;

void collect_target(const Expr& target, Names& names) {
  if (target.kind == ExprKind::kName) {
    names.insert(target.name);
  } else if (target.kind == ExprKind::kTuple) {
    for (const ExprPtr& part : target.operands) {
      collect_target(*part, names);
    }
  }
}

// Names that a template gives a value itself; others can hold no function.
void collect_assigned(const Body& body, Names& names) {
  for (const Node& node : body) {
    if (node.target != nullptr) {
      collect_target(*node.target, names);
    }
    if (node.kind == NodeKind::kMacro) {
      names.insert(node.text);
    }
    for (const Parameter& parameter : node.parameters) {
      names.insert(parameter.name);
    }
    collect_assigned(node.body, names);
    collect_assigned(node.otherwise, names);
  }
}

class NameChecker {
 public:
  explicit NameChecker(Names assigned) : assigned_(std::move(assigned)) {}

  void check(const Body& body) const {
    for (const Node& node : body) {
      check(node.value.get());
      check(node.condition.get());
      for (const Parameter& parameter : node.parameters) {
        check(parameter.initial.get());
      }
      check(node.body);
      check(node.otherwise);
    }
  }

 private:
  void check(const Expr* expr) const {
    if (expr == nullptr) {
      return;
    }
    if (expr->kind == ExprKind::kFilter) {
      require_known(find_filter(expr->name) != nullptr, "filter", expr->name, expr->line);
      check_named_in_arguments(*expr);
    } else if (expr->kind == ExprKind::kTest) {
      require_known(find_test(expr->name) != nullptr, "test", expr->name, expr->line);
    } else if (expr->kind == ExprKind::kCall) {
      check_callee(*expr->operands[0]);
    }
    for (const ExprPtr& operand : expr->operands) {
      check(operand.get());
    }
    for (const Argument& argument : expr->arguments) {
      check(argument.value.get());
    }
  }

  void check_callee(const Expr& callee) const {
    if (callee.kind == ExprKind::kAttribute) {
      require_known(is_method(callee.name), "method", callee.name, callee.line);
    } else if (callee.kind == ExprKind::kName) {
      const bool known = callee.name == "caller" || assigned_.contains(callee.name) ||
                         find_function(callee.name) != nullptr;
      require_known(known, "function", callee.name, callee.line);
    }
  }

  // map('upper'), select('defined'), selectattr('role', 'equalto', …): what they name.
  static void check_named_in_arguments(const Expr& filter) {
    const bool by_attribute = filter.name == "selectattr" || filter.name == "rejectattr";
    const bool by_test = by_attribute || filter.name == "select" || filter.name == "reject";
    const size_t index = by_attribute ? 1 : 0;
    if ((!by_test && filter.name != "map") || filter.arguments.size() <= index) {
      return;
    }
    const Argument& argument = filter.arguments[index];
    const std::string* name = argument.value->literal.text();
    if (!argument.name.empty() || argument.value->kind != ExprKind::kLiteral || name == nullptr) {
      return;
    }
    const Builtin* found = by_test ? find_test(*name) : find_filter(*name);
    require_known(found != nullptr, by_test ? "test" : "filter", *name, filter.line);
  }

  static void require_known(bool known, std::string_view what, const std::string& name, int line) {
    require(known, ErrorCode::kUnsupported, "chat template: ", what, " '", name, "' of line ", line,
            " is not supported");
  }

  Names assigned_;
};

}  // namespace

void check_names(const Body& body) {
  Names assigned;
  collect_assigned(body, assigned);
  NameChecker(std::move(assigned)).check(body);
}

}  // namespace lychee::text::jinja
