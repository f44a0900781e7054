#pragma once

#include <string>
#include <vector>

#include "lychee/head_plan.h"
#include "training/trainer.h"

namespace lychee::training {

// A self-contained HTML page of a run: learning curves, the gates' scores over time and at the end,
// the plan, the recipe.
[[nodiscard]] std::string render_training_report(const TrainerState& state,
                                                 const std::vector<double>& scores,
                                                 const HeadPlan& plan, double undecided,
                                                 const std::string& options);

}  // namespace lychee::training
