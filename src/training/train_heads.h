#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "io/head_plan/head_plan_files.h"
#include "io/model_files.h"
#include "lychee/engine.h"
#include "training/distillation.h"
#include "training/run_folder.h"
#include "training/trainer.h"
#include "training/training_data.h"

namespace lychee::training {

struct TrainHeadsOptions {
  TrainerOptions trainer;
  RefinerOptions refiner;
  // A plan that is refined instead of a trained one, with the scores and parameters that came with
  // it; trainer.steps is 0 then.
  std::optional<io::HeadPlanFiles> init;
  Loss loss = Loss::kKl;
  Chain chain = Chain::kInference;
  Selection selection;
  int64_t checkpoint_every = 50;  // steps
  int threads = 0;                // compute threads; 0: all cores
  Device device = Device::kCpu;   // resolved
};

struct TrainHeadsResult {
  int64_t steps = 0;  // done in all
  bool finished = false;
  double loss = 0;  // mean of the last tenth of the steps
  double density = 0;
  double undecided = 0;
  int num_retrieval = 0;
  int skipped = 0;
  RunCost cost;             // of this call's training
  RefinerState refinement;  // empty: none was asked for, or not begun
};

// Called after every step and, if it was skipped, with why; returns false to stop: a checkpoint is
// written then.
using StepCallback = std::function<bool(const StepRecord& record, const std::string& skip_reason)>;
// The same after every sample that plans were judged by.
using RefineCallback = std::function<bool(const PlanRefiner<float>& refiner)>;

// Trains until the last step and refines the plan, or until a callback stops it, and writes
// checkpoints, the report and the plan to `folder`. Throws Error(kInvalidArgument) for contexts
// beyond the model's and Error(kOutOfMemory) for what the GPU cannot hold, before anything is
// computed.
[[nodiscard]] TrainHeadsResult train_heads(const io::ModelFiles& files, const TrainingData& data,
                                           const TrainHeadsOptions& options, RunFolder& folder,
                                           const StepCallback& on_step,
                                           const RefineCallback& on_refine);

}  // namespace lychee::training
