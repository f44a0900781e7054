#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <optional>
#include <ratio>
#include <string>
#include <utility>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/train_data.h"
#include "cli/train_options.h"

namespace lychee::cli {

namespace {

nlohmann::ordered_json describe_refinement(const training::RefinerState& state) {
  if (state.rounds.empty()) {
    return nullptr;
  }
  return {{"rounds", state.rounds.size()},
          {"objective_before", state.rounds.front().before},
          {"objective", state.objective},
          {"swaps", state.swaps.size()},
          {"converged", state.converged != 0}};
}

void print_result(const TrainOptions& options, const training::TrainHeadsResult& result,
                  nlohmann::ordered_json described) {
  const training::StepTimes& times = result.cost.times;
  const training::RefinerState& refined = result.refinement;
  if (options.common.json) {
    nlohmann::ordered_json split;
    for (const auto& [name, part] : training::kStepParts) {
      split[std::string(name)] = times.*part;
    }
    print_json({{"steps", result.steps},
                {"finished", result.finished},
                {"loss", result.loss},
                {"density", result.density},
                {"num_retrieval", result.num_retrieval},
                {"undecided", result.undecided},
                {"skipped", result.skipped},
                {"seconds_per_step", result.cost.seconds},
                {"split_seconds", std::move(split)},
                {"peak_bytes", result.cost.peak_bytes},
                {"device_bytes", result.cost.device_bytes},
                {"plan", options.out},
                {"refinement", describe_refinement(refined)},
                {"options", std::move(described)}});
    return;
  }
  if (!options.init) {
    fmt::print("{} of {} steps: loss {:.4g}, density {:.3f}, {:.1f} % of the gates undecided\n",
               result.steps, options.steps, result.loss, result.density, 100 * result.undecided);
  }
  if (!refined.rounds.empty()) {
    fmt::print("{} rounds of refinement: objective {:.5g} to {:.5g} by {} swaps\n",
               refined.rounds.size(), refined.rounds.front().before, refined.objective,
               refined.swaps.size());
  }
  fmt::print("plan of {} retrieval heads in {}\n", result.num_retrieval, options.out);
  if (result.cost.steps > 0) {
    fmt::print(
        "{:.3f} s a step: prefill {:.3f}, teacher {:.3f}, student {:.3f}, loss {:.3f}, backward "
        "{:.3f} · peak memory {}{}\n",
        result.cost.seconds, times.prefill, times.teacher, times.student, times.loss,
        times.backward, format_bytes(static_cast<double>(result.cost.peak_bytes)),
        result.cost.device_bytes == 0
            ? ""
            : ", of the GPU's " + format_bytes(static_cast<double>(result.cost.device_bytes)));
  }
}

void train(const TrainOptions& options) {
  const io::ModelFiles files = io::open_model(resolve_model(options.model).string());
  require(files.tokenizer.has_value(), ErrorCode::kInvalidArgument, files.name,
          " has no tokenizer, which training needs to make its texts");
  const text::Tokenizer tokenizer(*files.tokenizer);
  const training::TrainHeadsOptions effective = train_heads_options(options, files.config);
  const training::TrainingData data = training_data(options, tokenizer);
  const nlohmann::ordered_json described = describe_training(options, files, effective);
  training::RunFolder folder(options.out, described.dump(2) + "\n", options.resume);

  const InterruptGuard guard;
  const auto begin = std::chrono::steady_clock::now();
  const auto out_of_time = [&] {
    return options.minutes && std::chrono::steady_clock::now() - begin >=
                                  std::chrono::duration<double, std::ratio<60>>(*options.minutes);
  };
  std::optional<ProgressBar> bar;
  const training::TrainHeadsResult result = training::train_heads(
      files, data, effective, folder,
      [&](const training::StepRecord& record, const std::string& skip_reason) {
        if (!skip_reason.empty()) {
          bar.reset();
          print_note("skipped " + skip_reason);
        }
        bar.emplace(fmt::format("loss {:.4f} density {:.3f} lambda {:.2f} retrieval {}",
                                record.loss, record.density, record.lambda, record.num_retrieval));
        bar->update(record.step + 1, options.steps);
        return !guard.interrupted() && !out_of_time();
      },
      [&](const training::PlanRefiner<float>& refiner) {
        const training::RefinerState& state = refiner.state();
        bar.reset();
        bar.emplace(fmt::format("refine: round {} objective {:.5f} swaps {}",
                                state.rounds.size() + 1, state.objective, state.swaps.size()));
        bar->update(refiner.steps(), refiner.max_steps());
        return !guard.interrupted() && !out_of_time();
      });
  bar.reset();
  if (!result.finished) {
    print_note("stopped; the same command with --resume goes on from the checkpoint in " +
               options.out);
  }
  print_result(options, result, described);
  guard.throw_if_interrupted();
}

}  // namespace

void add_train_heads_command(CLI::App& app) {
  auto options = std::make_shared<TrainOptions>();
  CLI::App* command =
      app.add_subcommand("train-heads", "Learn which heads of a model have to retrieve");
  command->footer(
      "The model is frozen; a gate per head learns whether its output may come "
      "from a token set.\n"
      "The folder receives options.json, log.csv, a checkpoint, the head plan and report.html.\n"
      "Examples:\n"
      "  lycheedecode train-heads --model builtin:needle --data needle --context-min 200 "
      "--context-max 400 --budget 64 --sink 8 --recent 16 --retrieval-heads 5 --steps 200 --out "
      "run\n"
      "  lycheedecode train-heads --model smollm2 --text-file emma.txt --retrieval-heads 22 --out "
      "run");
  add_train_options(*command, *options);
  add_common_options(*command, options->common);
  command->callback([options] {
    apply_common_options(options->common);
    train(*options);
  });
}

}  // namespace lychee::cli
