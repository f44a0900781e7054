#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "eval/results.h"

namespace lychee::eval {

// A self-contained page: for each task a chart of score by length, the rows as a table, and the
// options.
[[nodiscard]] std::string render_report(const std::vector<EvalRow>& rows,
                                        const nlohmann::ordered_json& options);

}  // namespace lychee::eval
