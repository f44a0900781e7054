#pragma once

#include <string>
#include <string_view>

namespace lychee::eval {

// The answer in a solution: what follows the last "final answer is" (in its line), else the last
// \boxed{…}, else with `integer` the last whole number. Empty if there is none.
[[nodiscard]] std::string extract_answer(std::string_view solution, bool integer);

// Whether two answers are the same: whole numbers, fractions, decimals, expressions with letters,
// lists and sets in any order, pairs and intervals in theirs, ± as both, equations by their right
// sides. Numbers may differ by `tolerance` (OlympiadBench's `error`), else by a share of 1e-8.
[[nodiscard]] bool same_answer(std::string_view gold, std::string_view answer,
                               double tolerance = 0);

}  // namespace lychee::eval
