#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "lychee/engine.h"
#include "lychee/generation.h"

namespace lychee::cli {

// Flags of every command (interfaces.md, section 1).
struct CommonOptions {
  bool json = false;
  uint64_t seed = 0;
  int threads = 0;
  std::string device = "auto";
  std::string log_level = "warn";
};
void add_common_options(CLI::App& command, CommonOptions& options);
// Sets the log level; throws Error(kInvalidArgument) for an unknown one.
void apply_common_options(const CommonOptions& options);

// Which model, and how it computes.
struct ModelOptions {
  std::string model;
  std::string kv_dtype = "auto";
  std::string weights = "file";
  bool exact = false;
  int64_t max_cache_tokens = 0;
  int prefill_chunk = 0;
};
void add_model_options(CLI::App& command, ModelOptions& options);
// What `--model` names, as a file, a folder or builtin:…; an hf: model is fetched when the cache
// lacks it.
[[nodiscard]] std::filesystem::path resolve_model(const std::string& model);
// Of --device, whose values add_common_options checks.
[[nodiscard]] Device parse_device(const std::string& name);

// Sequences of a command that decodes one, and where asked a dense one beside it.
constexpr int kOneAndDense = 2;

// The engine's options, with catalogue names and hf: resolved to files in the cache folder.
// max_sequences: of the model's context, that the command has at a time; 0: any number.
[[nodiscard]] EngineOptions engine_options(const ModelOptions& model, const CommonOptions& common,
                                           int max_sequences);

// Throws Error(kInvalidArgument) for more tokens than the model's context, or the cache that
// --max-cache-tokens asked for, can hold. What memory cannot hold is the engine's to report.
void check_length(const Engine& engine, const ModelOptions& model, int64_t num_tokens);

// Decoding options as given; what was left out comes from the plan, then from the defaults.
struct DecodingOptions {
  std::optional<std::string> policy;
  std::optional<std::string> heads;
  std::optional<std::string> select;
  std::optional<int> budget, sink, recent;
  std::optional<double> ratio, mass, threshold;
  std::optional<int64_t> dense_below;
  std::optional<int> cache_correction;
  std::vector<int> layers;
};
void add_decoding_options(CLI::App& command, DecodingOptions& options);

struct SamplingOptions {
  double temperature = 0;
  int top_k = 0;
  double top_p = 1;
  double min_p = 0;
  double repeat_penalty = 1;
};
void add_sampling_options(CLI::App& command, SamplingOptions& options);
void apply_sampling_options(const SamplingOptions& options, const CommonOptions& common,
                            GenerationOptions& generation);

struct StopOptions {
  std::vector<std::string> stop;
  int64_t max_tokens = 256;
  bool ignore_eos = false;
};
void add_stop_options(CLI::App& command, StopOptions& options);
void apply_stop_options(const StopOptions& options, GenerationOptions& generation);

// The head plan named by `spec`, for a model: a folder, uniform:N, random:N:SEED, builtin,
// builtin:swapped. nullopt: the plan that ships for the model, or null.
[[nodiscard]] std::shared_ptr<const HeadPlan> resolve_head_plan(
    const std::optional<std::string>& spec, const std::string& model_spec, const ModelInfo& model);

// Policy, plan and selection for one model, in the order of precedence command line, plan, default.
// `dense_below` is what --dense-below defaults to; nullopt: the effective budget.
[[nodiscard]] GenerationOptions generation_options(const DecodingOptions& options,
                                                   const std::string& model_spec,
                                                   const ModelInfo& model,
                                                   std::optional<int64_t> dense_below);

// The `options` object of every JSON output: the effective values of all that shaped the result.
[[nodiscard]] nlohmann::ordered_json describe_options(const GenerationOptions& generation,
                                                      const Engine& engine,
                                                      const ModelOptions& model,
                                                      const CommonOptions& common);

// The `memory` object of commands that measure.
[[nodiscard]] nlohmann::ordered_json describe_memory(const MemoryPlan& memory);

}  // namespace lychee::cli
