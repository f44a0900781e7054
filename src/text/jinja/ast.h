#pragma once

#include <memory>
#include <string>
#include <vector>

#include "text/jinja/value.h"

namespace lychee::text::jinja {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;
using Exprs = std::vector<ExprPtr>;

enum class ExprKind {
  kLiteral,      // literal
  kName,         // name
  kList,         // operands
  kTuple,        // operands
  kDict,         // operands: key, value, key, value, …
  kNegate,       // operands[0]
  kPlus,         // operands[0]
  kNot,          // operands[0]
  kAnd,          // operands[0], operands[1]
  kOr,           // operands[0], operands[1]
  kBinary,       // operands[0] `name` operands[1]; + - * / // % **
  kConcat,       // operands joined as text
  kCompare,      // operands[0] op operands[1] op …; comparisons
  kConditional,  // operands[0] if operands[1] else operands[2] (null: undefined)
  kAttribute,    // operands[0].name
  kItem,         // operands[0][operands[1]]
  kSlice,        // operands[0][operands[1]:operands[2]:operands[3]], each of the three may be null
  kCall,         // operands[0](arguments)
  kFilter,       // operands[0] | name(arguments); operands[0] is null at the head of a block filter
  kTest,         // operands[0] is name(arguments)
};

enum class Comparison {
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn
};

struct Argument {
  std::string name;  // empty: positional
  ExprPtr value;
};

struct Expr {
  ExprKind kind = ExprKind::kLiteral;
  int line = 0;
  int depth = 1;  // levels below, this one included
  std::string name;
  Value literal;
  Exprs operands;
  std::vector<Comparison> comparisons;
  std::vector<Argument> arguments;
};

struct Node;
using Body = std::vector<Node>;

struct Parameter {
  std::string name;
  ExprPtr initial;  // null: no default
};

enum class NodeKind {
  kText,      // text
  kOutput,    // value
  kIf,        // value, body, otherwise
  kFor,       // target in value if condition: body; else otherwise
  kSet,       // target = value
  kSetBlock,  // target = body | value (a chain of filters, or null)
  kMacro,     // text = its name, parameters, body
  kCall,      // value = the call, parameters (of caller), body
  kFilter,    // value = a chain of filters, body
  kWith,      // parameters = names and values, body
  kBreak,
  kContinue,
};

// A statement, or text between them.
struct Node {
  NodeKind kind = NodeKind::kText;
  int line = 0;
  std::string text;
  ExprPtr value;
  ExprPtr target;     // a name, an attribute of a name, or a tuple of those
  ExprPtr condition;  // of a loop
  std::vector<Parameter> parameters;
  Body body;
  Body otherwise;
};

class Scope;

// A macro as a value: also a `call` block, which its macro knows as `caller`.
struct Macro {
  const Node* node = nullptr;
  // Not shared: a scope holds its macros, so that both would keep each other alive.
  std::weak_ptr<Scope> scope;
};

}  // namespace lychee::text::jinja
