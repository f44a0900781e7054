#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "eval/result_folder.h"
#include "eval/results.h"
#include "eval/task.h"
#include "lychee/engine.h"

namespace lychee::eval {

struct EvalOptions {
  std::vector<int64_t> lengths;  // tokens, those to generate included
  int samples = 10;              // per task and length; negative: all there are
  uint64_t seed = 0;
  std::vector<GenerationOptions> settings;  // every sample is answered under each
  bool together = false;                    // the settings of a prompt decode in one batch
};

// What is under way, for people.
struct EvalProgress {
  std::string task;
  int64_t length;
  int sample;
  int num_samples;
  int64_t prompt_done;  // prompt tokens prefilled, of
  int64_t prompt_total;
};
// Return false to stop; the samples finished by then count.
using EvalProgressCallback = std::function<bool(const EvalProgress&)>;

// Throws Error(kInvalidArgument) for no tasks, samples or settings, or a length that the model's
// context cannot hold.
void check_eval_options(const EvalOptions& options, const ModelInfo& model);

// Answers every sample under every setting, in order of task, length and sample; a prompt is
// prefilled once and forked for each setting. Results that `folder` holds already are not computed
// again; new ones are appended to it. `folder` may be null.
[[nodiscard]] std::vector<SampleResult> run_eval(Engine& engine, const TaskList& tasks,
                                                 const EvalOptions& options, ResultFolder* folder,
                                                 const EvalProgressCallback& progress = {});

}  // namespace lychee::eval
