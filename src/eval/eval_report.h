#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "eval/results.h"

namespace lychee::eval {

// A self-contained page: for each task charts of the score by length, budget and KV bytes read,
// maps by depth and of recall, the rows as a table, what it cost, and the options.
[[nodiscard]] std::string render_report(const std::vector<SampleResult>& results,
                                        const nlohmann::ordered_json& options);

}  // namespace lychee::eval
