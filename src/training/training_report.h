#pragma once

#include <string>

#include "io/head_plan/head_plan_files.h"
#include "training/plan_refiner.h"
#include "training/trainer.h"

namespace lychee::training {

// A self-contained HTML page of a run: learning curves and the gates' scores over time, if there
// were steps; rounds of refinement, if there were any; the scores at the end, the plan, what the
// last call's training cost, the recipe.
[[nodiscard]] std::string render_training_report(const Trainer<float>& trainer,
                                                 const io::HeadPlanFiles& files,
                                                 const RefinerState& refinement,
                                                 const RunCost& cost);

}  // namespace lychee::training
