#include "training/train_heads.h"

#include <algorithm>

#include "base/check.h"
#include "base/memory_info.h"
#include "io/head_plan/head_plan_files.h"
#include "kernels/cpu/threads.h"
#include "training/training_report.h"

namespace lychee::training {
namespace {

std::vector<float> floats(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

io::HeadPlanFiles plan_files(const io::ModelFiles& model, const Trainer<float>& trainer,
                             const TrainHeadsOptions& options, const RunFolder& folder) {
  io::HeadPlanFiles files;
  files.plan = trainer.plan();
  files.plan.selection = options.selection;
  const io::ModelConfig& config = model.config;
  files.shape = {config.num_layers, config.num_q_heads, config.num_kv_heads, config.head_dim};
  files.base_model = model.name;
  files.model_type = io::architecture_name(config.architecture);
  files.rounding_rule = options.trainer.num_retrieval > 0 ? "count" : "kuma_mean";
  files.scores = floats(trainer.scores());
  if (options.trainer.gate == GateKind::kHardKuma) {
    for (const GateParams& params : trainer.state().params) {
      files.kuma_alpha.push_back(static_cast<float>(params[0]));
      files.kuma_beta.push_back(static_cast<float>(params[1]));
    }
  }
  files.training = folder.options();
  return files;
}

// Mean loss of the last tenth of the steps, at least one: a single step's says more about its
// sample.
double recent_loss(const std::vector<StepRecord>& history) {
  const size_t count = std::max<size_t>(history.size() / 10, 1);
  double sum = 0;
  size_t finite = 0;
  for (size_t i = history.size() - std::min(count, history.size()); i < history.size(); ++i) {
    if (history[i].skipped == 0) {
      sum += history[i].loss;
      ++finite;
    }
  }
  return finite == 0 ? 0 : sum / static_cast<double>(finite);
}

// From sums to means.
void finish_cost(RunCost& cost) {
  const auto steps = static_cast<double>(std::max<int64_t>(cost.steps, 1));
  cost.seconds /= steps;
  cost.times /= steps;
  cost.peak_bytes = peak_memory_bytes();
}

void check_length(const io::ModelFiles& files, const TrainingData& data) {
  const int64_t needed = data.max_context() + data.max_target();
  require(needed <= files.config.context_length, ErrorCode::kInvalidArgument, "contexts of ",
          data.max_context(), " tokens and up to ", data.max_target(),
          " after them exceed the model's context of ", files.config.context_length,
          ": lower --context-max");
}

}  // namespace

TrainHeadsResult train_heads(const io::ModelFiles& files, const TrainingData& data,
                             const TrainHeadsOptions& options, RunFolder& folder,
                             const StepCallback& on_step) {
  check_length(files, data);
  validate(options.selection);
  cpu::set_num_threads(options.threads);
  const model::ModelWeights weights = model::load_weights(files);
  Distillation<float> distillation(files.config, weights, cpu_kernels(),
                                   {.loss = options.loss,
                                    .chain = options.chain,
                                    .selection = options.selection,
                                    .max_context = data.max_context(),
                                    .max_target = data.max_target()});
  Trainer<float> trainer(files.config, distillation, data, options.trainer);
  if (auto state = folder.take_checkpoint()) {
    trainer.set_state(std::move(*state));
  }
  RunCost cost;
  bool stopped = false;
  while (!trainer.done() && !stopped) {
    StepRecord record;
    const double seconds = seconds_of([&] { record = trainer.step(); });
    ++cost.steps;
    cost.seconds += seconds;
    cost.times += trainer.times();
    folder.log(record, seconds, trainer.times());
    stopped = !on_step(record, record.skipped != 0 ? trainer.skip_reason() : "");
    // A checkpoint after a bad step could hold a state that bad steps led to.
    const bool due = trainer.state().step % options.checkpoint_every == 0;
    if ((due && trainer.state().skipped_in_row == 0) || stopped || trainer.done()) {
      folder.write_checkpoint(trainer.state());
    }
  }
  finish_cost(cost);
  TrainHeadsResult result;
  result.steps = trainer.state().step;
  result.finished = trainer.done();
  result.loss = recent_loss(trainer.state().history);
  result.density = trainer.state().history.empty() ? 0 : trainer.state().history.back().density;
  result.undecided = trainer.undecided();
  result.num_retrieval = trainer.plan().num_retrieval();
  result.skipped = trainer.state().skipped;
  result.cost = cost;
  io::write_head_plan_folder(plan_files(files, trainer, options, folder), folder.path());
  folder.write_report(render_training_report(trainer, cost, folder.options()));
  return result;
}

}  // namespace lychee::training
