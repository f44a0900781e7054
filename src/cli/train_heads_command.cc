#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/interrupt.h"
#include "cli/number_checks.h"
#include "cli/output.h"
#include "io/model_files.h"
#include "io/qa_file.h"
#include "text/tokenizer.h"
#include "training/train_heads.h"

namespace lychee::cli {

namespace {

struct TrainOptions {
  CommonOptions common;
  std::string model;
  std::string out;
  std::string gate = "hardkuma";
  std::string loss = "kl";
  std::string chain = "inference";
  int64_t steps = 3000;
  double lr = 0.01;
  std::optional<int> num_retrieval;
  std::optional<double> target_density;
  int64_t context_min = 1024;
  int64_t context_max = 4096;
  int64_t context_reuse = 4;
  int64_t text_rows = 256;
  int phrases = 10;
  int phrase_words = 32;
  std::string data = "passkey:0.5,needle:0.3,text:0.2";
  std::vector<std::string> text_files;
  std::string qa_file;
  std::string select = "topk";
  std::vector<int> budgets = {256};
  int sink = 16;
  int recent = 64;
  double ratio = 0.1;
  double mass = 0.95;
  double threshold = 0;
  int64_t checkpoint_every = 50;
  bool resume = false;
};

Selection selection_of(const TrainOptions& options) {
  Selection selection;
  selection.mode = *parse_select_mode(options.select);
  selection.budget = std::ranges::max(options.budgets);
  selection.sink = options.sink;
  selection.recent = options.recent;
  selection.ratio = options.ratio;
  selection.mass = options.mass;
  selection.threshold = options.threshold;
  for (const int budget : options.budgets) {
    Selection one = selection;
    one.budget = budget;
    validate(one);
  }
  require(selection.mode == SelectMode::kRatio || selection.budget < options.context_max,
          ErrorCode::kInvalidArgument, "a budget of ", selection.budget,
          " holds all of contexts of at most ", options.context_max,
          " tokens, so that no head would ever be sparse: lower --budget or raise --context-max");
  return selection;
}

training::TrainHeadsOptions trainer_options(const TrainOptions& options,
                                            const io::ModelConfig& config) {
  training::TrainHeadsOptions result;
  training::TrainerOptions& trainer = result.trainer;
  trainer.gate = *training::parse_gate(options.gate);
  trainer.steps = options.steps;
  trainer.learning_rate = options.lr;
  trainer.context_reuse = options.context_reuse;
  trainer.budgets = options.budgets;
  trainer.seed = options.common.seed;
  require(!options.num_retrieval || !options.target_density, ErrorCode::kInvalidArgument,
          "give either --retrieval-heads or --target-density");
  // As published: 32 of 256 heads retrieve in the plan, layer 0's 8 among them.
  constexpr double kPublishedDensity = 24.0 / 256;
  trainer.target_density = options.target_density.value_or(kPublishedDensity);
  if (options.num_retrieval) {
    trainer.num_retrieval = *options.num_retrieval;
    trainer.target_density =
        training::density_for(*options.num_retrieval, config.num_layers, config.num_kv_heads);
  }
  result.loss = *training::parse_loss(options.loss);
  result.chain = *training::parse_chain(options.chain);
  result.selection = selection_of(options);
  result.checkpoint_every = options.checkpoint_every;
  result.threads = options.common.threads;
  return result;
}

training::TrainingData training_data(const TrainOptions& options,
                                     const text::Tokenizer& tokenizer) {
  training::DataOptions data;
  data.mixture = training::parse_mixture(options.data);
  data.context_min = options.context_min;
  data.context_max = options.context_max;
  data.text_rows = options.text_rows;
  data.phrases = options.phrases;
  data.phrase_words = options.phrase_words;
  data.seed = options.common.seed;
  std::vector<samples::Book> books;
  books.reserve(options.text_files.size());
  for (const std::string& path : options.text_files) {
    books.emplace_back(read_text_file(path));
  }
  std::vector<training::QaItem> items;
  if (!options.qa_file.empty()) {
    for (io::QaRecord& record : io::read_qa_file(options.qa_file)) {
      items.push_back(
          {std::move(record.context), std::move(record.question), std::move(record.answer)});
    }
  }
  const auto encode = [&tokenizer](std::string_view text) { return tokenizer.encode(text, true); };
  return {data, encode, std::move(books), std::move(items)};
}

nlohmann::ordered_json describe(const TrainOptions& options, const io::ModelFiles& files,
                                const training::TrainHeadsOptions& effective) {
  const Selection& selection = effective.selection;
  nlohmann::ordered_json json = {
      {"model", files.name},
      {"model_sha256", files.header_sha256},
      {"gate", options.gate},
      {"loss", options.loss},
      {"chain", options.chain},
      {"steps", options.steps},
      {"lr", options.lr},
      {"retrieval_heads", options.num_retrieval ? nlohmann::ordered_json(*options.num_retrieval)
                                                : nlohmann::ordered_json(nullptr)},
      {"target_density", effective.trainer.target_density},
      {"stretch", {-0.1, 1.1}},
      {"data", training::mixture_text(training::parse_mixture(options.data))},
      {"text_files", options.text_files},
      {"qa_file", options.qa_file},
      {"context_min", options.context_min},
      {"context_max", options.context_max},
      {"context_reuse", options.context_reuse},
      {"text_rows", options.text_rows},
      {"phrases", options.phrases},
      {"phrase_words", options.phrase_words},
      {"select", select_mode_name(selection.mode)},
      {"budget", options.budgets.size() == 1 ? nlohmann::ordered_json(selection.budget)
                                             : nlohmann::ordered_json(options.budgets)},
      {"sink", selection.sink},
      {"recent", selection.recent},
      {"dense_below", 0},
      {"kv_dtype", "f32"},
      {"weights", dtype_info(files.config.dtype).name},
      {"exact", true},
      {"seed", options.common.seed},
      {"threads", options.common.threads},
      {"device", "cpu"}};
  return json;
}

void print_result(const TrainOptions& options, const training::TrainHeadsResult& result,
                  nlohmann::ordered_json described) {
  const training::StepTimes& times = result.cost.times;
  if (options.common.json) {
    print_json({{"steps", result.steps},
                {"finished", result.finished},
                {"loss", result.loss},
                {"density", result.density},
                {"num_retrieval", result.num_retrieval},
                {"undecided", result.undecided},
                {"skipped", result.skipped},
                {"seconds_per_step", result.cost.seconds},
                {"split_seconds",
                 {{"prefill", times.prefill},
                  {"teacher", times.teacher},
                  {"student", times.student},
                  {"loss", times.loss},
                  {"backward", times.backward}}},
                {"peak_bytes", result.cost.peak_bytes},
                {"plan", options.out},
                {"options", std::move(described)}});
    return;
  }
  fmt::print(
      "{} of {} steps: loss {:.4g}, density {:.3f}, {:.1f} % of the gates undecided\n"
      "plan of {} retrieval heads in {}\n",
      result.steps, options.steps, result.loss, result.density, 100 * result.undecided,
      result.num_retrieval, options.out);
  if (result.cost.steps > 0) {
    fmt::print(
        "{:.2f} s a step: prefill {:.2f}, teacher {:.2f}, student {:.2f}, loss {:.2f}, backward "
        "{:.2f} · peak memory {}\n",
        result.cost.seconds, times.prefill, times.teacher, times.student, times.loss,
        times.backward, format_bytes(static_cast<double>(result.cost.peak_bytes)));
  }
}

void train(const TrainOptions& options) {
  require(options.common.device != "cuda", ErrorCode::kUnsupported,
          "train-heads runs on the CPU; --device cuda is not supported");
  const io::ModelFiles files = io::open_model(resolve_model(options.model).string());
  require(files.tokenizer.has_value(), ErrorCode::kInvalidArgument, files.name,
          " has no tokenizer, which training needs to make its texts");
  const text::Tokenizer tokenizer(*files.tokenizer);
  const training::TrainHeadsOptions effective = trainer_options(options, files.config);
  const training::TrainingData data = training_data(options, tokenizer);
  const nlohmann::ordered_json described = describe(options, files, effective);
  training::RunFolder folder(options.out, described.dump(2) + "\n", options.resume);

  const InterruptGuard guard;
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
        return !guard.interrupted();
      });
  bar.reset();
  if (!result.finished) {
    print_note("stopped; --resume goes on from the checkpoint in " + options.out);
  }
  print_result(options, result, described);
}

void add_recipe_options(CLI::App& command, TrainOptions& options) {
  command.add_option("--gate", options.gate, "hardkuma, hard-concrete or direct")
      ->check(CLI::IsMember({"hardkuma", "hard-concrete", "direct"}))
      ->capture_default_str();
  command
      .add_option("--loss", options.loss, "What the student learns to match: hidden, logits, kl")
      ->check(CLI::IsMember({"hidden", "logits", "kl"}))
      ->capture_default_str();
  command
      .add_option("--chain", options.chain,
                  "Token sets while training: as inference carries them, or as published")
      ->check(CLI::IsMember({"inference", "published"}))
      ->capture_default_str();
  command.add_option("--steps", options.steps, "Training steps")
      ->check(whole_number(1))
      ->capture_default_str();
  command.add_option("--lr", options.lr, "Peak learning rate")
      ->check(number_above(0))
      ->capture_default_str();
  command.add_option("--retrieval-heads", options.num_retrieval,
                     "Retrieval heads of the plan, layer 0's counted");
  command
      .add_option("--target-density", options.target_density,
                  "Gates that stay open, as a share of all heads (default 24/256); the plan then "
                  "has the heads whose score exceeds 0.5")
      ->check(number_between(0, 1));
}

void add_data_options(CLI::App& command, TrainOptions& options) {
  const std::string group = "Data";
  command
      .add_option("--data", options.data,
                  "Mixture with weights: passkey (phrases hidden in a book, all asked), needle, "
                  "text, qa")
      ->capture_default_str()
      ->group(group);
  command.add_option("--text-file", options.text_files, "A book to hide things in (repeatable)")
      ->group(group);
  command
      .add_option("--qa-file", options.qa_file,
                  "JSON lines with context, question and answer, for qa")
      ->group(group);
  const auto number = [&](const char* name, int64_t& value, const char* help) {
    command.add_option(name, value, help)
        ->check(whole_number(1))
        ->capture_default_str()
        ->group(group);
  };
  number("--context-min", options.context_min, "Shortest context, in tokens");
  number("--context-max", options.context_max, "Longest context, in tokens");
  number("--context-reuse", options.context_reuse, "Steps on one context before the next");
  number("--text-rows", options.text_rows, "Tokens that follow a context of text");
  command.add_option("--phrases", options.phrases, "Phrases hidden per context")
      ->check(whole_number(1, 20))
      ->capture_default_str()
      ->group(group);
  command.add_option("--phrase-words", options.phrase_words, "Words of a phrase")
      ->check(whole_number(1, 1000))
      ->capture_default_str()
      ->group(group);
}

void add_selection_options(CLI::App& command, TrainOptions& options) {
  const std::string group = "Selection, as at inference";
  command.add_option("--select", options.select, "topk, block, ratio, mass or threshold")
      ->check(CLI::IsMember({"topk", "block", "ratio", "mass", "threshold"}))
      ->capture_default_str()
      ->group(group);
  const auto count = [&](const char* name, int& value, int64_t low, const char* help) {
    command.add_option(name, value, help)
        ->check(whole_number(low))
        ->capture_default_str()
        ->group(group);
  };
  command
      .add_option("--budget", options.budgets,
                  "Tokens a sparse head reads; of several, each in turn, a context long")
      ->delimiter(',')
      ->check(whole_number(0))
      ->capture_default_str()
      ->group(group);
  count("--sink", options.sink, 0, "First positions always read");
  count("--recent", options.recent, 1, "Last positions always read");
  const auto share = [&](const char* name, double& value, const char* help) {
    command.add_option(name, value, help)
        ->check(number_between(0, 1))
        ->capture_default_str()
        ->group(group);
  };
  share("--select-ratio", options.ratio, "Share of the tokens, for ratio");
  share("--select-mass", options.mass, "Softmax mass, for mass");
  share("--select-threshold", options.threshold, "Softmax probability, for threshold");
}

}  // namespace

void add_train_heads_command(CLI::App& app) {
  auto options = std::make_shared<TrainOptions>();
  CLI::App* command =
      app.add_subcommand("train-heads", "Learn which heads of a model have to retrieve");
  command->footer(
      "Runs on the CPU. The model is frozen; a gate per head learns whether its output may come "
      "from a token set.\n"
      "The folder receives options.json, log.csv, a checkpoint, the head plan and report.html.\n"
      "Examples:\n"
      "  lycheedecode train-heads --model builtin:needle --data needle --context-min 200 "
      "--context-max 400 --budget 64 --sink 8 --recent 16 --retrieval-heads 5 --steps 200 --out "
      "run\n"
      "  lycheedecode train-heads --model smollm2 --text-file emma.txt --retrieval-heads 22 --out "
      "run");
  command
      ->add_option("--model", options->model,
                   "GGUF file, model folder, catalogue name, hf: or "
                   "builtin:needle")
      ->required();
  command->add_option("--out", options->out, "Folder of the run and of its plan")->required();
  add_recipe_options(*command, *options);
  add_data_options(*command, *options);
  add_selection_options(*command, *options);
  command->add_option("--checkpoint-every", options->checkpoint_every, "Steps between checkpoints")
      ->check(whole_number(1))
      ->capture_default_str();
  command->add_flag("--resume", options->resume, "Go on where the run in --out stopped");
  add_common_options(*command, options->common);
  command->callback([options] {
    apply_common_options(options->common);
    train(*options);
  });
}

}  // namespace lychee::cli
