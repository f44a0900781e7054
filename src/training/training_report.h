#pragma once

#include <string>

#include "training/trainer.h"

namespace lychee::training {

// A self-contained HTML page of a run: learning curves, the gates' scores over time and at the end,
// the plan, what the last call cost, the recipe.
[[nodiscard]] std::string render_training_report(const Trainer<float>& trainer, const RunCost& cost,
                                                 const std::string& options);

}  // namespace lychee::training
