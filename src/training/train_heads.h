#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "io/model_files.h"
#include "training/distillation.h"
#include "training/run_folder.h"
#include "training/trainer.h"
#include "training/training_data.h"

namespace lychee::training {

struct TrainHeadsOptions {
  TrainerOptions trainer;
  Loss loss = Loss::kKl;
  Chain chain = Chain::kInference;
  Selection selection;
  int64_t checkpoint_every = 50;  // steps
  int threads = 0;                // compute threads; 0: all cores
};

struct TrainHeadsResult {
  int64_t steps = 0;  // done in all
  bool finished = false;
  double loss = 0;  // mean of the last tenth of the steps
  double density = 0;
  double undecided = 0;
  int num_retrieval = 0;
  int skipped = 0;
  RunCost cost;  // of this call
};

// Called after every step and, if it was skipped, with why; returns false to stop: a checkpoint is
// written then.
using StepCallback = std::function<bool(const StepRecord& record, const std::string& skip_reason)>;

// Trains on the CPU until the last step or until `on_step` stops it, and writes checkpoints, the
// report and the plan to `folder`. Throws Error(kInvalidArgument) for contexts beyond the model's,
// before anything is computed.
[[nodiscard]] TrainHeadsResult train_heads(const io::ModelFiles& files, const TrainingData& data,
                                           const TrainHeadsOptions& options, RunFolder& folder,
                                           const StepCallback& on_step);

}  // namespace lychee::training
