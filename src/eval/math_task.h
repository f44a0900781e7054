#pragma once

#include "eval/task.h"

namespace lychee::eval {

// The problems in inputs.data, each asked inputs.attempts times: `aime` for lines with `problem`
// (or `question`) and a whole number `answer`, `olympiadbench` for lines with `question` and a list
// `final_answer` (and perhaps `error`, a tolerance). A sample's score is the share of attempts that
// are right. An answer may fill the length. Throws Error(kInvalidArgument) without data and for a
// line of neither kind.
[[nodiscard]] TaskList make_math_tasks(const TaskInputs& inputs);

}  // namespace lychee::eval
