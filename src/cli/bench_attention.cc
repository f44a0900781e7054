#include "cli/bench_attention.h"

#include <fmt/format.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "bench/attention_bench.h"
#include "cli/bench_rows.h"
#include "cli/common_options.h"
#include "cli/number_checks.h"
#include "cli/output.h"
#include "io/head_plan/head_plan_spec.h"
#include "io/shape/shape_model.h"

namespace lychee::cli {

namespace {

struct KernelBenchOptions {
  CommonOptions common;
  std::string shape = "llama3-8b";
  std::vector<int64_t> contexts = {32768, 131072};
  std::vector<int> batches = {1};
  std::string kv_dtype = "bf16";
  std::string select = "topk";
  std::optional<std::string> policy;
  std::optional<std::string> heads;
  int retrieval_heads = 1;
  int repeats = 15;
  Selection selection;
};

DType parse_kv_dtype(const std::string& name) {
  const std::map<std::string, DType> names = {
      {"f32", DType::kF32}, {"f16", DType::kF16}, {"bf16", DType::kBF16}, {"fp8", DType::kF8E4M3}};
  return names.at(name);
}

void add_kernel_options(CLI::App& command, KernelBenchOptions& options) {
  command.add_option("--shape", options.shape, "Heads of a known model")
      ->check(CLI::IsMember(io::shape_names()))
      ->capture_default_str();
  command.add_option("--context", options.contexts, "Tokens in the cache: a,b,…")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 22))
      ->capture_default_str();
  command.add_option("--batch", options.batches, "Sequences that decode together: a,b,…")
      ->delimiter(',')
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  command
      .add_option("--retrieval-heads", options.retrieval_heads,
                  "KV heads of the layer that read everything and select; the others read a set")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_option("--budget", options.selection.budget, "Tokens of a set")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--sink", options.selection.sink, "First positions always in a set")
      ->check(whole_number(0))
      ->capture_default_str();
  command.add_option("--recent", options.selection.recent, "Last positions always in a set")
      ->check(whole_number(1))
      ->capture_default_str();
  command.add_option("--repeats", options.repeats, "Measured launches of a row")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  add_common_options(command, options.common);
}

void print_kernel_rows(const KernelBenchOptions& options, std::string_view device,
                       const std::vector<bench::Row>& rows) {
  nlohmann::ordered_json described = {{"shape", options.shape},
                                      {"context", options.contexts},
                                      {"batch", options.batches},
                                      {"kv_dtype", options.kv_dtype},
                                      {"select", options.select},
                                      {"budget", options.selection.budget},
                                      {"sink", options.selection.sink},
                                      {"recent", options.selection.recent},
                                      {"select_ratio", options.selection.ratio},
                                      {"select_mass", options.selection.mass},
                                      {"select_threshold", options.selection.threshold},
                                      {"repeats", options.repeats},
                                      {"seed", options.common.seed},
                                      {"device", device}};
  if (options.policy) {
    described["policy"] = *options.policy;
  }
  if (options.heads) {
    described["heads"] = *options.heads;
  }
  if (!options.policy && !options.heads) {  // which decide in its place
    described["retrieval_heads"] = options.retrieval_heads;
  }
  print_rows(rows, options.common.json, std::move(described));
}

// What is measured at every context and batch.
using Measure = std::function<void(bench::AttentionBench&, const bench::AttentionCase&,
                                   std::vector<bench::Row>&)>;

void run_kernel_bench(const char* op, KernelBenchOptions& options, const io::ModelConfig& config,
                      const Measure& measure) {
  apply_common_options(options.common);
  bench::AttentionBench session(parse_device(options.common.device), options.common.threads,
                                options.repeats, options.common.seed);
  std::vector<bench::Row> rows;
  for (const int64_t context : options.contexts) {
    for (const int batch : options.batches) {
      bench::AttentionCase c;
      c.num_q_heads = config.num_q_heads;
      c.head_dim = config.head_dim;
      c.kv_dtype = parse_kv_dtype(options.kv_dtype);
      c.context = context;
      c.batch = batch;
      c.selection = options.selection;
      measure(session, c, rows);
      print_note(fmt::format("measured {} of context {}, batch {}", op, context, batch));
    }
  }
  print_kernel_rows(options, session.device(), rows);
}

io::ModelConfig checked_config(KernelBenchOptions& options) {
  options.selection.mode = *parse_select_mode(options.select);
  validate(options.selection);
  io::ModelConfig config = io::shape_config("shape:" + options.shape);
  require(options.retrieval_heads <= config.num_kv_heads, ErrorCode::kInvalidArgument,
          "--retrieval-heads ", options.retrieval_heads, " is above the ", config.num_kv_heads,
          " KV heads of ", options.shape);
  return config;
}

// The layers that --policy and --heads make, or one of --retrieval-heads.
std::vector<bench::LayerMixture> asked_mixtures(const KernelBenchOptions& options, Policy policy,
                                                const io::ModelConfig& config) {
  if (!options.policy && !options.heads) {
    const int selecting = options.retrieval_heads;
    if (selecting == config.num_kv_heads) {
      return {};  // as dense
    }
    bench::LayerMixture mixture;
    mixture.num_select = selecting;
    mixture.num_read = config.num_kv_heads - selecting;
    return {mixture};
  }
  GenerationOptions generation;
  generation.policy = policy;
  generation.selection = options.selection;
  if (options.heads) {
    auto plan = std::make_shared<HeadPlan>(io::resolve_head_plan(
        io::parse_head_plan_spec(*options.heads),
        {.num_layers = config.num_layers, .num_kv_heads = config.num_kv_heads}));
    plan->name = *options.heads;
    generation.head_plan = std::move(plan);
  }
  return bench::layer_mixtures(generation, config.num_layers, config.num_kv_heads);
}

void bench_attention(KernelBenchOptions& options) {
  const io::ModelConfig config = checked_config(options);
  const Policy policy = parse_policy(options.policy.value_or("hybrid")).value();
  const std::vector<bench::LayerMixture> mixtures = asked_mixtures(options, policy, config);
  run_kernel_bench(
      "attention", options, config,
      [&](bench::AttentionBench& session, bench::AttentionCase c, std::vector<bench::Row>& rows) {
        c.heads.num_dense = config.num_kv_heads;
        rows.push_back(session.attention(c));
        if (policy == Policy::kDense) {
          return;
        }
        c.policy = policy_name(policy);
        c.sets = bench::set_kind(policy);
        for (const bench::LayerMixture& mixture : mixtures) {
          c.heads = mixture;
          rows.push_back(session.attention(c));
        }
      });
}

void bench_select(KernelBenchOptions& options) {
  const io::ModelConfig config = checked_config(options);
  require(options.retrieval_heads > 0, ErrorCode::kInvalidArgument,
          "bench select needs --retrieval-heads of at least 1: their sets are what is selected");
  run_kernel_bench(
      "select", options, config,
      [&](bench::AttentionBench& session, bench::AttentionCase c, std::vector<bench::Row>& rows) {
        c.policy = options.select;
        c.heads.num_select = options.retrieval_heads;
        rows.push_back(session.select(c));
      });
}

}  // namespace

void add_bench_attention(CLI::App& bench) {
  auto options = std::make_shared<KernelBenchOptions>();
  CLI::App* command = bench.add_subcommand(
      "attention",
      "Decode attention of one layer alone: dense, and each kind of layer that a policy makes");
  command->footer(
      "Examples:\n"
      "  lycheedecode bench attention --shape llama3-8b --context 32768,131072 --batch 1,4,8\n"
      "  lycheedecode bench attention --shape llama3-8b --context 131072 --heads uniform:32\n"
      "  lycheedecode bench attention --context 8192 --policy layer-shared --budget 1024 --device "
      "cpu");
  add_kernel_options(*command, *options);
  command->add_option("--kv-dtype", options->kv_dtype, "Type of K and V")
      ->check(CLI::IsMember({"f32", "f16", "bf16", "fp8"}))
      ->capture_default_str();
  CLI::Option* single = command->get_option("--retrieval-heads");
  command
      ->add_option("--heads", options->heads,
                   "Head plan for the shape's layers: a folder, uniform:N or random:N:SEED")
      ->excludes(single);
  command
      ->add_option("--policy", options->policy,
                   "dense, hybrid, layer-shared, streaming, duo or page-bound (attention to its "
                   "pages alone); default: hybrid")
      ->check(CLI::IsMember({"hybrid", "dense", "layer-shared", "streaming", "duo", "page-bound"}))
      ->excludes(single);
  command->callback([options] { bench_attention(*options); });
}

void add_bench_select(CLI::App& bench) {
  auto options = std::make_shared<KernelBenchOptions>();
  CLI::App* command = bench.add_subcommand(
      "select", "Selection for the retrieval heads of one layer alone, from scores of noise");
  command->footer(
      "Examples:\n"
      "  lycheedecode bench select --context 131072 --batch 1,8 --retrieval-heads 1\n"
      "  lycheedecode bench select --context 8192 --select mass --select-mass 0.9 --device cpu");
  add_kernel_options(*command, *options);
  command->add_option("--select", options->select, "Rule")
      ->check(CLI::IsMember({"topk", "block", "ratio", "mass", "threshold"}))
      ->capture_default_str();
  command->add_option("--select-ratio", options->selection.ratio, "Share of the tokens, for ratio")
      ->check(number_between(0, 1))
      ->capture_default_str();
  command->add_option("--select-mass", options->selection.mass, "Softmax mass, for mass")
      ->check(number_between(0, 1))
      ->capture_default_str();
  command
      ->add_option("--select-threshold", options->selection.threshold,
                   "Softmax probability, for threshold")
      ->check(number_between(0, 1))
      ->capture_default_str();
  command->callback([options] { bench_select(*options); });
}

}  // namespace lychee::cli
