#pragma once

#include "eval/task.h"

namespace lychee::eval {

// A task for each dataset in inputs.data, whose lines have LongBench's fields (input, context,
// answers, dataset, all_classes), with LongBench's metrics, generated tokens, cut in the middle and
// use of the chat template; the prompts' words are ours. Throws Error(kInvalidArgument) without
// data, for a line that lacks a field, for a dataset that is none, and where Chinese words are to
// be counted and inputs.words holds no dictionary.
[[nodiscard]] TaskList make_longbench_tasks(const TaskInputs& inputs);

}  // namespace lychee::eval
