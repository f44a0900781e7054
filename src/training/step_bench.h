#pragma once

#include <cstdint>

#include "io/model_files.h"
#include "lychee/engine.h"
#include "training/distillation.h"
#include "training/run_cost.h"

namespace lychee::training {

struct StepBenchOptions {
  // The longest context and target are what is measured; all target rows are answers.
  DistillationOptions distillation;
  int repeats = 3;  // steps, each with a context of its own
  uint64_t seed = 0;
  Device device = Device::kCpu;  // resolved
  int threads = 0;
};

// Of a step that reads its context itself: medians of seconds, and the arithmetic behind them.
struct StepBench {
  StepTimes times;
  StepTimes flop;         // of each part, instead of seconds
  double flop_per_s = 0;  // that the model's largest layer matrix reaches over a prefill's rows
  int64_t peak_bytes = 0;
  int64_t device_bytes = 0;
};

// What a step must compute: products with weights and with K and V. Counts each once, also where
// they are computed in parts.
[[nodiscard]] StepTimes step_flop(const io::ModelConfig& config,
                                  const DistillationOptions& options);

// Steps over random tokens and gates. Throws Error(kOutOfMemory) as make_backend does.
[[nodiscard]] StepBench measure_step(const io::ModelFiles& files, const StepBenchOptions& options);

}  // namespace lychee::training
