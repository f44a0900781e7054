#pragma once

#include <memory>

#include "eval/task.h"

namespace lychee::eval {

// The whole key must come, at depths that grow with the sample.
[[nodiscard]] std::unique_ptr<Task> make_passkey_task(const TaskInputs& inputs);
// The same for a 7-digit number, in the user's text or else in filler.
[[nodiscard]] std::unique_ptr<Task> make_needle_task(const TaskInputs& inputs);
// The whole phrase must come; metric `words`: share of its words that stand where they should.
[[nodiscard]] std::unique_ptr<Task> make_phrase_task(const TaskInputs& inputs);

}  // namespace lychee::eval
