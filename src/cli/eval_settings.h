#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/common_options.h"

namespace lychee::cli {

// What to compare: every policy with every head plan, budget and correction that it has a use for.
// Empty lists: what the decoding options say.
struct EvalLists {
  std::vector<std::string> policies;
  std::vector<int> budgets;
  std::vector<std::string> heads;
  std::vector<int> corrections;
};
void add_eval_lists(CLI::App& command, EvalLists& lists);

// The settings, each once. Budgets below 512 take sink 16 and recent 64 where none are given, and a
// note says so. Throws Error(kInvalidArgument) for an unknown policy.
[[nodiscard]] std::vector<GenerationOptions> eval_settings(const EvalLists& lists,
                                                           const DecodingOptions& decoding,
                                                           const std::string& model_spec,
                                                           const ModelInfo& model);

// As describe_options, with a list under `settings`; an option that the settings differ in is a
// list of its values.
[[nodiscard]] nlohmann::ordered_json describe_settings(
    const std::vector<GenerationOptions>& settings, const Engine& engine, const ModelOptions& model,
    const CommonOptions& common);

}  // namespace lychee::cli
