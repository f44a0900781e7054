#include "cli/train_options.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "cli/number_checks.h"
#include "io/fetch/sha256.h"
#include "io/head_plan/head_plan_spec.h"
#include "io/needle/builtin_needle.h"
#include "training/choose_backend.h"

namespace lychee::cli {
namespace {

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

void add_refine_options(CLI::App& command, TrainOptions& options) {
  const std::string group = "Refinement";
  command
      .add_option("--refine", options.refine,
                  "Rounds in which the plan's own loss is lowered by swaps of heads, after the "
                  "last step")
      ->check(whole_number(0))
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--refine-samples", options.refine_samples,
                  "Samples that plans are judged by, each kind of --data by its weight")
      ->check(whole_number(1))
      ->capture_default_str()
      ->group(group);
  auto* init = command
                   .add_option("--init", options.init,
                               "Refine this plan and train none: a folder, uniform:N, "
                               "random:N:SEED, builtin or builtin:swapped")
                   ->group(group);
  for (const char* of_training :
       {"--gate", "--steps", "--lr", "--retrieval-heads", "--target-density", "--context-reuse"}) {
    init->excludes(command.get_option(of_training));
  }
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
  command
      .add_option("--retrieval-heads", options.num_retrieval,
                  "Retrieval heads of the plan, layer 0's counted")
      ->check(whole_number());
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

void add_run_options(CLI::App& command, TrainOptions& options) {
  command
      .add_option("--model", options.model,
                  "GGUF file, model folder, catalogue name, hf: or "
                  "builtin:needle")
      ->required();
  command.add_option("--out", options.out, "Folder of the run and of its plan")->required();
  command.add_option("--checkpoint-every", options.checkpoint_every, "Steps between checkpoints")
      ->check(whole_number(1))
      ->capture_default_str();
  command
      .add_option(
          "--minutes", options.minutes,
          "Stop after the step, or sample of refinement, in which so much time is over; --resume "
          "goes on")
      ->check(number_above(0));
  command.add_flag("--resume", options.resume, "Go on where the run in --out stopped");
}

}  // namespace

void add_train_options(CLI::App& command, TrainOptions& options) {
  add_run_options(command, options);
  add_recipe_options(command, options);
  add_data_options(command, options);
  add_selection_options(command, options);
  add_refine_options(command, options);
}

namespace {

void set_refinement(const TrainOptions& options, const io::ModelConfig& config,
                    training::TrainHeadsOptions& result) {
  require(!options.init || options.refine > 0, ErrorCode::kInvalidArgument,
          "--init names a plan to refine: give --refine ROUNDS");
  require(options.refine == 0 || result.chain == training::Chain::kInference,
          ErrorCode::kInvalidArgument,
          "--refine judges plans by the sets of decoding: give --chain inference");
  result.refiner = {
      .rounds = options.refine, .samples = options.refine_samples, .budgets = options.budgets};
  if (!options.init) {
    return;
  }
  const HeadPlanShape shape = {config.num_layers, config.num_q_heads, config.num_kv_heads,
                               config.head_dim};
  const io::HeadPlanSpec spec = io::parse_head_plan_spec(*options.init);
  io::HeadPlanFiles init;
  init.plan = io::resolve_head_plan(
      spec, shape,
      io::is_builtin_model(options.model) ? io::builtin_plans(options.model) : io::BuiltinPlans{});
  if (spec.kind == io::HeadPlanSpec::Kind::kFolder) {
    init = io::read_head_plan_folder(spec.folder);
  }
  result.init = std::move(init);
  result.trainer.steps = 0;
}

}  // namespace

training::TrainHeadsOptions train_heads_options(const TrainOptions& options,
                                                const io::ModelConfig& config) {
  training::TrainHeadsOptions result;
  training::TrainerOptions& trainer = result.trainer;
  trainer.gate = *training::parse_gate(options.gate);
  trainer.steps = options.steps;
  trainer.learning_rate = options.lr;
  trainer.context_reuse = options.context_reuse;
  trainer.budgets = options.budgets;
  trainer.seed = options.common.seed;
  // Here too, so that no long samples are made in vain; train_heads() knows how many rows follow.
  require(options.context_max <= config.context_length, ErrorCode::kInvalidArgument, "contexts of ",
          options.context_max, " tokens exceed the model's context of ", config.context_length,
          ": lower --context-max");
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
  set_refinement(options, config, result);
  result.checkpoint_every = options.checkpoint_every;
  result.threads = options.common.threads;
  result.device = training::resolve_device(parse_device(options.common.device));
  return result;
}

nlohmann::ordered_json describe_training(const TrainOptions& options, const io::ModelFiles& files,
                                         const training::TrainHeadsOptions& effective) {
  const Selection& selection = effective.selection;
  nlohmann::ordered_json json = {
      {"model", files.name},
      {"model_sha256", files.header_sha256},
      {"gate", options.gate},
      {"loss", options.loss},
      {"chain", options.chain},
      {"steps", effective.trainer.steps},
      {"lr", options.lr},
      {"retrieval_heads", options.num_retrieval ? nlohmann::ordered_json(*options.num_retrieval)
                                                : nlohmann::ordered_json(nullptr)},
      {"target_density", effective.trainer.target_density},
      {"refine", options.refine},
      {"refine_samples", options.refine_samples},
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
      {"weights", effective.device == Device::kCpu ? dtype_info(files.config.dtype).name : "bf16"},
      {"exact", effective.device == Device::kCpu},
      {"seed", options.common.seed},
      {"threads", options.common.threads},
      {"device", effective.device == Device::kCpu ? "cpu" : "cuda"}};
  if (effective.init) {
    for (const char* of_training :
         {"gate", "steps", "lr", "retrieval_heads", "target_density", "stretch", "context_reuse"}) {
      json.erase(of_training);
    }
    const std::string roles = io::format_roles(effective.init->plan);
    json["init"] = *options.init;
    json["init_roles_sha256"] = io::sha256_hex(roles);
  }
  return json;
}

}  // namespace lychee::cli
