#include "cli/common_options.h"

#include <array>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/logging.h"
#include "cli/number_checks.h"

namespace lychee::cli {

void add_common_options(CLI::App& command, CommonOptions& options) {
  command.add_flag("--json", options.json,
                   "Print one JSON object on stdout and nothing else there");
  command.add_option("--seed", options.seed, "Seed of everything random")
      ->check(seed_number())
      ->capture_default_str();
  command.add_option("--threads", options.threads, "Compute threads; 0: all cores")
      ->check(whole_number())
      ->capture_default_str();
  command.add_option("--device", options.device, "cpu, cuda or auto")
      ->check(CLI::IsMember({"cpu", "cuda", "auto"}))
      ->capture_default_str();
  command.add_option("--log-level", options.log_level, "debug, info, warn, error or off")
      ->check(CLI::IsMember({"debug", "info", "warn", "error", "off"}))
      ->capture_default_str();
}

void apply_common_options(const CommonOptions& options) {
  constexpr std::array<std::pair<const char*, LogLevel>, 5> kLevels = {{{"debug", LogLevel::kDebug},
                                                                        {"info", LogLevel::kInfo},
                                                                        {"warn", LogLevel::kWarn},
                                                                        {"error", LogLevel::kError},
                                                                        {"off", LogLevel::kOff}}};
  for (const auto& [name, level] : kLevels) {
    if (options.log_level == name) {
      set_log_level(level);
    }
  }
}

void add_decoding_options(CLI::App& command, DecodingOptions& options) {
  const std::string group = "Decoding";
  command
      .add_option(
          "--policy", options.policy,
          "dense, hybrid, layer-shared, streaming, duo or page-bound; default: hybrid with a "
          "head plan, dense without")
      ->check(CLI::IsMember({"hybrid", "dense", "layer-shared", "streaming", "duo", "page-bound"}))
      ->group(group);
  command
      .add_option("--heads", options.heads,
                  "Head plan: a folder, uniform:N, random:N:SEED; builtin or builtin:swapped with "
                  "the built-in model. Default: the plan that ships for the model")
      ->group(group);
  command
      .add_option("--select", options.select,
                  "topk, block, ratio, mass or threshold (default topk)")
      ->check(CLI::IsMember({"topk", "block", "ratio", "mass", "threshold"}))
      ->group(group);
  command.add_option("--budget", options.budget, "Tokens a sparse head reads (default 4096)")
      ->check(whole_number(0))
      ->group(group);
  command.add_option("--select-ratio", options.ratio, "Share of the tokens, for ratio")
      ->check(number_between(0, 1))
      ->group(group);
  command.add_option("--select-mass", options.mass, "Softmax mass, for mass")
      ->check(number_between(0, 1))
      ->group(group);
  command.add_option("--select-threshold", options.threshold, "Softmax probability, for threshold")
      ->check(number_between(0, 1))
      ->group(group);
  command.add_option("--sink", options.sink, "First positions always read (default 128)")
      ->check(whole_number(0))
      ->group(group);
  command.add_option("--recent", options.recent, "Last positions always read (default 256)")
      ->check(whole_number(1))
      ->group(group);
  command
      .add_option("--dense-below", options.dense_below,
                  "Steps over at most this many tokens run dense")
      ->check(whole_number(0, std::numeric_limits<int64_t>::max()))
      ->group(group);
  command
      .add_option("--cache-correction", options.cache_correction,
                  "A dense pass over every C generated tokens; 0: off")
      ->check(whole_number())
      ->group(group);
  command
      .add_option(
          "--layers", options.layers,
          "Selecting layers of policy layer-shared: a,b (default: 2 and half of all). Dense are "
          "these, those below the first of them, 0 and 1")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(whole_number())
      ->group(group);
}

void add_sampling_options(CLI::App& command, SamplingOptions& options) {
  const std::string group = "Sampling";
  command.add_option("--temperature", options.temperature, "0: greedy")
      ->check(number_at_least(0))
      ->capture_default_str()
      ->group(group);
  command.add_option("--top-k", options.top_k, "Keep the k most likely tokens; 0: all")
      ->check(whole_number())
      ->capture_default_str()
      ->group(group);
  command.add_option("--top-p", options.top_p, "Keep the most likely tokens up to this mass")
      ->check(number_between(0, 1))
      ->capture_default_str()
      ->group(group);
  command.add_option("--min-p", options.min_p, "Drop tokens below this share of the likeliest one")
      ->check(number_between(0, 1))
      ->capture_default_str()
      ->group(group);
  command.add_option("--repeat-penalty", options.repeat_penalty, "Above 1: tokens seen lose")
      ->check(number_above(0))
      ->capture_default_str()
      ->group(group);
}

void add_stop_options(CLI::App& command, StopOptions& options) {
  const std::string group = "Stopping";
  command.add_option("--stop", options.stop, "Stop at this text (repeatable)")->group(group);
  command.add_option("--max-tokens", options.max_tokens, "Most tokens to generate")
      ->check(whole_number(0, std::numeric_limits<int64_t>::max()))
      ->capture_default_str()
      ->group(group);
  command.add_flag("--ignore-eos", options.ignore_eos, "Go on after the model's end token")
      ->group(group);
}

void apply_sampling_options(const SamplingOptions& options, const CommonOptions& common,
                            GenerationOptions& generation) {
  generation.temperature = options.temperature;
  generation.top_k = options.top_k;
  generation.top_p = options.top_p;
  generation.min_p = options.min_p;
  generation.repetition_penalty = options.repeat_penalty;
  generation.seed = common.seed;
}

void apply_stop_options(const StopOptions& options, GenerationOptions& generation) {
  generation.stop = options.stop;
  generation.max_tokens = options.max_tokens;
  generation.ignore_eos = options.ignore_eos;
}

GenerationOptions generation_options(const DecodingOptions& options, const std::string& model_spec,
                                     const ModelInfo& model, std::optional<int64_t> dense_below) {
  GenerationOptions generation;
  const std::optional<Policy> policy =
      options.policy ? parse_policy(*options.policy) : std::nullopt;
  // A plan that merely ships with the model is no reason to refuse a policy without one.
  if (options.heads || !policy || policy_needs_plan(*policy)) {
    generation.head_plan = resolve_head_plan(options.heads, model_spec, model);
  }
  generation.policy = policy.value_or(generation.head_plan ? Policy::kHybrid : Policy::kDense);
  Selection& selection = generation.selection;
  if (generation.head_plan) {
    selection = generation.head_plan->selection.value_or(selection);
    generation.cache_correction = generation.head_plan->cache_correction;
  }
  if (options.select) {
    selection.mode = parse_select_mode(*options.select).value_or(selection.mode);
  }
  selection.budget = options.budget.value_or(selection.budget);
  selection.sink = options.sink.value_or(selection.sink);
  selection.recent = options.recent.value_or(selection.recent);
  selection.ratio = options.ratio.value_or(selection.ratio);
  selection.mass = options.mass.value_or(selection.mass);
  selection.threshold = options.threshold.value_or(selection.threshold);
  generation.selecting_layers = options.layers;
  generation.cache_correction = options.cache_correction.value_or(generation.cache_correction);
  generation.dense_below =
      options.dense_below.value_or(dense_below.value_or(int64_t{selection.budget}));
  return generation;
}

nlohmann::ordered_json describe_options(const GenerationOptions& generation, const Engine& engine,
                                        const ModelOptions& model, const CommonOptions& common) {
  const ModelInfo& info = engine.model();
  const Selection& selection = generation.selection;
  nlohmann::ordered_json json;
  json["policy"] = policy_name(generation.policy);
  json["heads"] =
      generation.head_plan ? nlohmann::ordered_json(generation.head_plan->name) : nullptr;
  json["select"] = select_mode_name(selection.mode);
  json["budget"] = selection.budget;
  json["sink"] = selection.sink;
  json["recent"] = selection.recent;
  json["select_ratio"] = selection.ratio;
  json["select_mass"] = selection.mass;
  json["select_threshold"] = selection.threshold;
  json["dense_below"] = generation.dense_below;
  json["cache_correction"] = generation.cache_correction;
  if (generation.policy == Policy::kLayerShared) {
    json["layers"] = generation.selecting_layers.empty() ? std::vector<int>{2, info.num_layers / 2}
                                                         : generation.selecting_layers;
  }
  json["temperature"] = generation.temperature;
  json["top_k"] = generation.top_k;
  json["top_p"] = generation.top_p;
  json["min_p"] = generation.min_p;
  json["repeat_penalty"] = generation.repetition_penalty;
  json["stop"] = generation.stop;
  json["max_tokens"] = generation.max_tokens;
  json["kv_dtype"] = info.kv_dtype;
  json["weights"] = info.weights;
  json["exact"] = model.exact;
  json["seed"] = common.seed;
  json["threads"] = info.threads;
  json["device"] = info.device;
  if (!info.gpu.empty()) {
    json["gpu"] = info.gpu;
  }
  json["model"] = model.model;
  json["model_sha256"] = info.header_sha256;
  return json;
}

nlohmann::ordered_json describe_memory(const MemoryPlan& memory) {
  return {{"weight_bytes", memory.weight_bytes}, {"workspace_bytes", memory.workspace_bytes},
          {"cache_tokens", memory.cache_tokens}, {"cache_bytes", memory.cache_bytes()},
          {"total_bytes", memory.total_bytes()}, {"available_bytes", memory.available_bytes}};
}

}  // namespace lychee::cli
