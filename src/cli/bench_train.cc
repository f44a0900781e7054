#include "cli/bench_train.h"

#include <fmt/format.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "cli/common_options.h"
#include "cli/number_checks.h"
#include "cli/output.h"
#include "io/shape/shape_model.h"
#include "training/choose_backend.h"
#include "training/step_bench.h"

namespace lychee::cli {

namespace {

struct BenchTrainOptions {
  CommonOptions common;
  std::string model;
  std::string shape;
  std::vector<int64_t> contexts = {10240};
  int64_t rows = 1000;
  std::string loss = "kl";
  std::string chain = "inference";
  int budget = 256;
  int sink = 16;
  int recent = 64;
  int repeats = 3;
};

nlohmann::ordered_json to_json(const training::StepBench& step, int64_t context, int64_t rows) {
  nlohmann::ordered_json split;
  nlohmann::ordered_json floors;
  nlohmann::ordered_json flops;
  for (const auto& [name, part] : training::kStepParts) {
    split[std::string(name)] = step.times.*part;
    floors[std::string(name)] = step.flop.*part / step.flop_per_s;
    flops[std::string(name)] = step.flop.*part;
  }
  return {{"op", "train"},
          {"context", context},
          {"rows", rows},
          {"seconds_per_step", sum_of(step.times)},
          {"floor_seconds", sum_of(step.flop) / step.flop_per_s},
          {"split_seconds", split},
          {"split_floor_seconds", floors},
          {"split_flop", flops},
          {"flop_per_s", step.flop_per_s},
          {"peak_bytes", step.peak_bytes},
          {"device_bytes", step.device_bytes}};
}

void print_table(const training::StepBench& step, int64_t context, int64_t rows) {
  fmt::print("a step of {} rows over a context of {}: {:.3f} s\n", rows, context,
             sum_of(step.times));
  fmt::print("{:<10}{:>10}{:>10}{:>12}{:>10}\n", "part", "TFLOP", "floor s", "measured s", "share");
  const auto line = [&](std::string_view name, double flop, double seconds) {
    const double floor = flop / step.flop_per_s;
    fmt::print("{:<10}{:>10.4f}{:>10.4f}{:>12.4f}{:>10.2f}\n", name, flop / 1e12, floor, seconds,
               seconds > 0 ? floor / seconds : 0);
  };
  for (const auto& [name, part] : training::kStepParts) {
    line(name, step.flop.*part, step.times.*part);
  }
  line("all", sum_of(step.flop), sum_of(step.times));
  fmt::print("products reach {:.3f} TFLOP/s; peak memory {}{}\n", step.flop_per_s / 1e12,
             format_bytes(static_cast<double>(step.peak_bytes)),
             step.device_bytes == 0
                 ? ""
                 : ", of the GPU's " + format_bytes(static_cast<double>(step.device_bytes)));
}

training::StepBenchOptions step_options(const BenchTrainOptions& options, int64_t context) {
  training::StepBenchOptions result;
  result.distillation.loss = *training::parse_loss(options.loss);
  result.distillation.chain = *training::parse_chain(options.chain);
  result.distillation.selection.budget = options.budget;
  result.distillation.selection.sink = options.sink;
  result.distillation.selection.recent = options.recent;
  validate(result.distillation.selection);
  result.distillation.max_context = context;
  result.distillation.max_target = options.rows;
  result.repeats = options.repeats;
  result.seed = options.common.seed;
  result.device = training::resolve_device(parse_device(options.common.device));
  result.threads = options.common.threads;
  return result;
}

void run(const BenchTrainOptions& options) {
  apply_common_options(options.common);
  require(options.model.empty() != options.shape.empty(), ErrorCode::kInvalidArgument,
          "give the model to measure with --model or --shape");
  const io::ModelFiles files = options.shape.empty()
                                   ? io::open_model(resolve_model(options.model).string())
                                   : io::make_shape_model("shape:" + options.shape, DType::kBF16);
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  bool cuda = false;
  for (const int64_t context : options.contexts) {
    const training::StepBenchOptions step = step_options(options, context);
    cuda = step.device == Device::kCuda;
    const training::StepBench found = training::measure_step(files, step);
    if (options.common.json) {
      rows.push_back(to_json(found, context, options.rows));
    } else {
      print_table(found, context, options.rows);
    }
  }
  if (options.common.json) {
    print_json({{"rows", rows},
                {"options",
                 {{"model", options.shape.empty() ? files.name : "shape:" + options.shape},
                  {"loss", options.loss},
                  {"chain", options.chain},
                  {"budget", options.budget},
                  {"sink", options.sink},
                  {"recent", options.recent},
                  {"repeats", options.repeats},
                  {"seed", options.common.seed},
                  {"threads", options.common.threads},
                  {"device", cuda ? "cuda" : "cpu"}}}});
  }
}

}  // namespace

void add_bench_train(CLI::App& bench) {
  auto options = std::make_shared<BenchTrainOptions>();
  CLI::App* command = bench.add_subcommand(
      "train",
      "Time of a step of train-heads over random tokens, its context read in it, beside what its "
      "arithmetic takes at the rate of one large matrix product");
  command->footer(
      "Example:\n"
      "  lycheedecode bench train --shape llama3-8b --context 10240 --rows 1000");
  command->add_option("--model", options->model, "GGUF file, model folder or catalogue name");
  command->add_option("--shape", options->shape, "Random weights in the shape of a known model")
      ->excludes(command->get_option("--model"))
      ->check(CLI::IsMember(io::shape_names()));
  command->add_option("--context", options->contexts, "Tokens before the target: a,b,…")
      ->delimiter(',')
      ->check(whole_number(0))
      ->capture_default_str();
  command->add_option("--rows", options->rows, "Target rows")
      ->check(whole_number(1))
      ->capture_default_str();
  command->add_option("--loss", options->loss, "hidden, logits or kl")
      ->check(CLI::IsMember({"hidden", "logits", "kl"}))
      ->capture_default_str();
  command->add_option("--chain", options->chain, "inference or published")
      ->check(CLI::IsMember({"inference", "published"}))
      ->capture_default_str();
  const auto count = [&](const char* name, int& value, int64_t low, const char* help) {
    command->add_option(name, value, help)->check(whole_number(low))->capture_default_str();
  };
  count("--budget", options->budget, 0, "Tokens a sparse head reads");
  count("--sink", options->sink, 0, "First positions always read");
  count("--recent", options->recent, 1, "Last positions always read");
  count("--repeats", options->repeats, 1, "Measured steps");
  add_common_options(*command, options->common);
  command->callback([options] { run(*options); });
}

}  // namespace lychee::cli
