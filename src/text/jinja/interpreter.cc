#include "text/jinja/interpreter.h"

#include "base/check.h"
#include "text/jinja/filters.h"
#include "text/jinja/level.h"
#include "text/jinja/text_functions.h"

namespace lychee::text::jinja {

std::string Interpreter::render(const Body& body, const Value& variables) {
  std::string output;
  output_ = &output;
  scope_ = std::make_shared<Scope>(nullptr);
  for (const auto& [name, value] : variables.map()->entries) {
    scope_->set(*name.text(), value);
  }
  try {
    execute(body);
  } catch (const RaisedException&) {
    throw;
  } catch (const Error& error) {
    throw Error(error.code(),
                std::string(error.what()) + " (chat template, line " + std::to_string(line_) + ")");
  }
  return output;
}

Interpreter::Flow Interpreter::execute(const Body& body) {
  const Level level(*this);
  for (const Node& node : body) {
    runtime_.charge_steps(1);
    line_ = node.line;
    const Flow flow = execute(node);
    if (flow != Flow::kOn) {
      return flow;
    }
  }
  return Flow::kOn;
}

Interpreter::Flow Interpreter::execute(const Node& node) {
  switch (node.kind) {
    case NodeKind::kText:
      write(node.text);
      break;
    case NodeKind::kOutput:
      write(text_of(runtime_, evaluate(*node.value)));
      break;
    case NodeKind::kIf:
      return execute(is_true(evaluate(*node.value)) ? node.body : node.otherwise);
    case NodeKind::kFor:
      return execute_for(node);
    case NodeKind::kSet:
      assign(*node.target, evaluate(*node.value));
      break;
    case NodeKind::kSetBlock: {
      const Value text = capture(node.body, std::make_shared<Scope>(scope_));
      assign(*node.target, apply_filters(node.value.get(), text));
      break;
    }
    case NodeKind::kMacro:
      scope_->set(node.text, Value::Storage(runtime_.new_macro({.node = &node, .scope = scope_})));
      break;
    case NodeKind::kCall:
      execute_call(node);
      break;
    case NodeKind::kFilter: {
      const Value text = capture(node.body, std::make_shared<Scope>(scope_));
      write(text_of(runtime_, apply_filters(node.value.get(), text)));
      break;
    }
    case NodeKind::kWith: {
      auto inside = std::make_shared<Scope>(scope_);
      for (const Parameter& parameter : node.parameters) {
        inside->set(parameter.name, evaluate(*parameter.initial));
      }
      return execute_within(node.body, std::move(inside));
    }
    case NodeKind::kBreak:
      return Flow::kBreak;
    case NodeKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kOn;
}

Values Interpreter::loop_items(const Node& node) {
  Values items = iterate(evaluate(*node.value));
  runtime_.charge_steps(std::ssize(items));
  if (node.condition == nullptr) {
    return items;
  }
  const std::shared_ptr<Scope> outside = scope_;
  Values kept;
  for (Value& item : items) {
    scope_ = std::make_shared<Scope>(outside);
    assign(*node.target, item);
    if (is_true(evaluate(*node.condition))) {
      kept.push_back(std::move(item));
    }
  }
  scope_ = outside;
  return kept;
}

Interpreter::Flow Interpreter::execute_for(const Node& node) {
  const Value items = make_sequence(loop_items(node));
  auto loop = std::make_shared<LoopState>();
  loop->items = *items.get_if<std::shared_ptr<Sequence>>();
  const std::shared_ptr<Scope> outside = scope_;
  bool any_complete = false;
  for (const Value& item : loop->items->items) {
    runtime_.charge_steps(1);
    scope_ = std::make_shared<Scope>(outside);
    scope_->set("loop", Value::Storage(std::shared_ptr<const LoopState>(loop)));
    assign(*node.target, item);
    const Flow flow = execute(node.body);
    any_complete = any_complete || flow == Flow::kOn;
    if (flow == Flow::kBreak) {
      break;
    }
    ++loop->index;
  }
  scope_ = outside;
  // As Jinja: passes that `break` or `continue` cut short do not count.
  return any_complete ? Flow::kOn : execute_within(node.otherwise, std::make_shared<Scope>(scope_));
}

void Interpreter::execute_call(const Node& node) {
  const Value callee = evaluate(*node.value->operands[0]);
  Arguments arguments = evaluate_arguments(*node.value);
  const Macro* caller = runtime_.new_macro({.node = &node, .scope = scope_});
  arguments.named.emplace_back("caller", Value::Storage(caller));
  write(text_of(runtime_, call(callee, std::move(arguments))));
}

void Interpreter::assign(const Expr& target, const Value& value) {
  line_ = target.line;
  if (target.kind == ExprKind::kName) {
    scope_->set(target.name, value);
  } else if (target.kind == ExprKind::kAttribute) {
    const Value object = evaluate(*target.operands[0]);
    auto* const* ns = object.get_if<Namespace*>();
    require(ns != nullptr, ErrorCode::kInvalidArgument, "only a namespace has attributes to set; '",
            target.operands[0]->name, "' is a ", type_name(object));
    // A namespace may not come to hold itself by way of what it holds: it is pointed to, so
    // nothing leaks, and is never written out.
    (*ns)->set(target.name, value);
  } else {
    const Values items = iterate(value);
    require(items.size() == target.operands.size(), ErrorCode::kInvalidArgument, "a value of ",
            items.size(), " items cannot be assigned to ", target.operands.size(), " names");
    for (size_t i = 0; i < items.size(); ++i) {
      assign(*target.operands[i], items[i]);
    }
  }
}

void Interpreter::write(std::string_view text) {
  runtime_.charge_bytes(std::ssize(text));
  *output_ += text;
  runtime_.check_output(*output_);
}

std::string Interpreter::capture(const Body& body, std::shared_ptr<Scope> scope) {
  std::string text;
  std::string* outside = std::exchange(output_, &text);
  execute_within(body, std::move(scope));
  output_ = outside;
  return text;
}

Interpreter::Flow Interpreter::execute_within(const Body& body, std::shared_ptr<Scope> scope) {
  std::shared_ptr<Scope> outside = std::exchange(scope_, std::move(scope));
  const Flow flow = execute(body);
  scope_ = std::move(outside);
  return flow;
}

Value Interpreter::call_macro(const Macro& macro, Arguments arguments) {
  const Level level(*this);
  const int line = line_;
  std::shared_ptr<Scope> around = macro.scope.lock();
  require(around != nullptr, ErrorCode::kUnsupported, "'", macro.node->text,
          "' is called outside the block that defines it, which is not supported");
  std::shared_ptr<Scope> outside =
      std::exchange(scope_, std::make_shared<Scope>(std::move(around)));
  bind_parameters(*macro.node, std::move(arguments));
  Value text = capture(macro.node->body, scope_);
  scope_ = std::move(outside);
  line_ = line;
  return text;
}

void Interpreter::bind_parameters(const Node& macro, Arguments arguments) {
  const std::vector<Parameter>& parameters = macro.parameters;
  require(arguments.positional.size() <= parameters.size(), ErrorCode::kInvalidArgument, "'",
          macro.text, "' takes at most ", parameters.size(), " arguments, not ",
          arguments.positional.size());
  std::vector<bool> given(parameters.size(), false);
  for (size_t i = 0; i < arguments.positional.size(); ++i) {
    scope_->set(parameters[i].name, std::move(arguments.positional[i]));
    given[i] = true;
  }
  for (auto& [name, value] : arguments.named) {
    size_t index = 0;
    while (index < parameters.size() && parameters[index].name != name) {
      ++index;
    }
    const bool is_parameter = index < parameters.size();
    require(is_parameter ? !given[index] : name == "caller", ErrorCode::kInvalidArgument, "'",
            macro.text, "' has no place for the argument '", name, "'");
    scope_->set(name, std::move(value));
    if (is_parameter) {
      given[index] = true;
    }
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (!given[i]) {
      scope_->set(parameters[i].name,
                  parameters[i].initial != nullptr
                      ? evaluate(*parameters[i].initial)
                      : Value::undefined("parameter '" + parameters[i].name + "'"));
    }
  }
}

}  // namespace lychee::text::jinja
