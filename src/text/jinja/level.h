#pragma once

#include "base/check.h"
#include "text/jinja/interpreter.h"

namespace lychee::text::jinja {

// One level of the interpreter's recursion, which the stack must bear.
class Interpreter::Level {
 public:
  explicit Level(Interpreter& interpreter) : interpreter_(interpreter) {
    const int limit = interpreter.runtime_.limits().call_depth;
    require(interpreter.depth_ < limit, ErrorCode::kInvalidArgument,
            "the template recurses deeper than ", limit, " levels");
    ++interpreter.depth_;
  }
  ~Level() { --interpreter_.depth_; }
  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;

 private:
  Interpreter& interpreter_;
};

}  // namespace lychee::text::jinja
