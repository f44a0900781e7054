#include "training/train_heads.h"

#include <algorithm>
#include <memory>

#include "base/check.h"
#include "base/memory_info.h"
#include "io/head_plan/head_plan_files.h"
#include "kernels/cpu/threads.h"
#include "training/choose_backend.h"
#include "training/training_report.h"

namespace lychee::training {
namespace {

std::vector<float> floats(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

// What stands beside the plan: scores stay those of the gates, also where roles were swapped.
io::HeadPlanFiles plan_files(const io::ModelFiles& model, const Trainer<float>& trainer,
                             const TrainHeadsOptions& options, const RunFolder& folder) {
  io::HeadPlanFiles files = options.init.value_or(io::HeadPlanFiles{});
  const io::ModelConfig& config = model.config;
  files.shape = {config.num_layers, config.num_q_heads, config.num_kv_heads, config.head_dim};
  files.base_model = model.name;
  files.model_type = io::architecture_name(config.architecture);
  files.training = folder.options();
  if (options.init) {
    return files;
  }
  files.rounding_rule = options.trainer.num_retrieval > 0 ? "count" : "kuma_mean";
  files.scores = floats(trainer.scores());
  if (options.trainer.gate == GateKind::kHardKuma) {
    for (const GateParams& params : trainer.state().params) {
      files.kuma_alpha.push_back(static_cast<float>(params[0]));
      files.kuma_beta.push_back(static_cast<float>(params[1]));
    }
  }
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

// A run: gates are trained, then the plan is refined.
class Run {
 public:
  Run(const io::ModelFiles& files, Distillation<float>& distillation, const TrainingData& data,
      const TrainHeadsOptions& options, RunFolder& folder)
      : files_(files),
        options_(options),
        folder_(folder),
        trainer_(files.config, distillation, data, options.trainer) {
    if (options.refiner.rounds > 0) {
      refiner_.emplace(files.config, distillation, data, options.refiner);
    }
    if (auto state = folder.take_checkpoint()) {
      trainer_.set_state(std::move(state->training));
      if (refiner_) {
        refiner_->set_state(std::move(state->refinement));
      }
    }
  }

  // False: `on_step` stopped it.
  bool train(const StepCallback& on_step) {
    bool stopped = false;
    while (!trainer_.done() && !stopped) {
      StepRecord record;
      const double seconds = seconds_of([&] { record = trainer_.step(); });
      ++cost_.steps;
      cost_.seconds += seconds;
      cost_.times += trainer_.times();
      folder_.log(record, seconds, trainer_.times());
      stopped = !on_step(record, record.skipped != 0 ? trainer_.skip_reason() : "");
      // A checkpoint after a bad step could hold a state that bad steps led to.
      const bool due = trainer_.state().step % options_.checkpoint_every == 0;
      if ((due && trainer_.state().skipped_in_row == 0) || stopped || trainer_.done()) {
        write_checkpoint();
      }
    }
    return !stopped;
  }

  // False: `on_refine` stopped it. One sample is many steps' work, so each has its checkpoint.
  bool refine(const RefineCallback& on_refine) {
    if (!refiner_) {
      return true;
    }
    if (refiner_->state().roles.empty()) {
      refiner_->begin(plan());
    }
    bool stopped = false;
    while (!refiner_->done() && !stopped) {
      refiner_->step();
      write_checkpoint();
      stopped = !on_refine(*refiner_);
    }
    folder_.write_rounds(refiner_->state(), files_.config.num_kv_heads);
    return !stopped;
  }

  [[nodiscard]] TrainHeadsResult finish(bool finished, int64_t device_bytes) {
    finish_cost(cost_);
    cost_.device_bytes = device_bytes;
    const TrainerState& state = trainer_.state();
    TrainHeadsResult result;
    result.steps = state.step;
    result.finished = finished;
    result.loss = recent_loss(state.history);
    result.density = state.history.empty() ? 0 : state.history.back().density;
    result.undecided = trainer_.undecided();
    result.skipped = state.skipped;
    result.cost = cost_;
    if (refiner_) {
      result.refinement = refiner_->state();
    }
    io::HeadPlanFiles files = plan_files(files_, trainer_, options_, folder_);
    files.plan = plan();
    files.plan.selection = options_.selection;
    if (!result.refinement.swaps.empty()) {
      files.rounding_rule.clear();  // no rule makes these roles of the scores
    }
    result.num_retrieval = files.plan.num_retrieval();
    io::write_head_plan_folder(files, folder_.path());
    folder_.write_report(render_training_report(trainer_, files, result.refinement, cost_));
    return result;
  }

 private:
  [[nodiscard]] HeadPlan plan() const {
    if (refiner_ && !refiner_->state().roles.empty()) {
      return refiner_->plan();
    }
    return options_.init ? options_.init->plan : trainer_.plan();
  }
  void write_checkpoint() const {
    folder_.write_checkpoint({trainer_.state(), refiner_ ? refiner_->state() : RefinerState{}});
  }

  const io::ModelFiles& files_;
  const TrainHeadsOptions& options_;
  RunFolder& folder_;
  Trainer<float> trainer_;
  std::optional<PlanRefiner<float>> refiner_;
  RunCost cost_;
};

}  // namespace

TrainHeadsResult train_heads(const io::ModelFiles& files, const TrainingData& data,
                             const TrainHeadsOptions& options, RunFolder& folder,
                             const StepCallback& on_step, const RefineCallback& on_refine) {
  check_length(files, data);
  validate(options.selection);
  cpu::set_num_threads(options.threads);
  const model::ModelWeights weights = model::load_weights(files);
  const DistillationOptions distilled{.loss = options.loss,
                                      .chain = options.chain,
                                      .selection = options.selection,
                                      .max_context = data.max_context(),
                                      .max_target = data.max_target()};
  const std::unique_ptr<Backend<float>> backend =
      make_backend(options.device, files.config, weights, distilled);
  Distillation<float> distillation(files.config, *backend, distilled);
  Run run(files, distillation, data, options, folder);
  const bool finished = run.train(on_step) && run.refine(on_refine);
  return run.finish(finished, backend->device_bytes());
}

}  // namespace lychee::training
