#pragma once

#include <memory>

#include "eval/task.h"

namespace lychee::eval {

// Follows the user's text (or the default one) from a random sentence on: `length` tokens, the last
// inputs.decode_tokens of them by decode steps. As `perplexity` or, with the observer of the sets'
// recall, as `recall`. Throws Error(kInvalidArgument) for fewer than two tokens to decode.
[[nodiscard]] std::unique_ptr<Task> make_follow_task(const TaskInputs& inputs, bool observe_recall);

}  // namespace lychee::eval
