#pragma once

#include <string>

#include "eval/task.h"
#include "samples/ruler.h"

namespace lychee::eval {

// RULER-S: RULER's 13 tasks over our own sentences, word list and essays, or the one of this name.
// Empty for another name. The qa tasks take SQuAD's and HotpotQA's questions where they are given;
// else made-up facts, and `-synthetic` follows their names.
[[nodiscard]] TaskList make_ruler_tasks(const std::string& name, const TaskInputs& inputs);

// Questions of a SQuAD file (JSON; questions without answers are left out), or of a HotpotQA file
// of the distractor setting. Throw Error(kInvalidArgument) that names `name` for other text.
[[nodiscard]] samples::QaSet parse_squad(const std::string& name, const std::string& text);
[[nodiscard]] samples::QaSet parse_hotpotqa(const std::string& name, const std::string& text);

}  // namespace lychee::eval
