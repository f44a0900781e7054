#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "bench/engine_bench.h"
#include "cli/bench_attention.h"
#include "cli/bench_linear.h"
#include "cli/bench_train.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/crossover.h"
#include "cli/output.h"
#include "io/shape/shape_model.h"

namespace lychee::cli {

namespace {

struct BenchOptions {
  CommonOptions common;
  ModelOptions model;
  DecodingOptions decoding;
  SamplingOptions sampling;
  std::vector<int64_t> contexts;
  std::vector<int> batches = {1};
  std::string shape;
  int repeats = 0;
};

// One engine and what is measured on it.
class BenchSession {
 public:
  explicit BenchSession(const BenchOptions& options)
      : options_(options),
        engine_(bench_engine(options)),
        bench_(engine_, options.common.seed, options.repeats),
        generation_(generation_options(options.decoding, options.model.model, engine_.model(),
                                       stored_crossover(engine_.model()))) {
    if (!options.decoding.cache_correction) {
      generation_.cache_correction = 0;  // a plan's; steps are measured without
    }
    apply_sampling_options(options.sampling, options.common, generation_);
  }

  void decode() {
    GenerationOptions dense;
    dense.policy = Policy::kDense;
    apply_sampling_options(options_.sampling, options_.common, dense);
    std::vector<GenerationOptions> policies = {dense};
    if (generation_.policy != Policy::kDense) {
      policies.push_back(generation_);
    }
    for (const int64_t context : options_.contexts) {
      for (const int batch : options_.batches) {
        add(bench_.decode(context, batch, policies));
      }
    }
    print();
  }

  void prefill() {
    for (const int64_t context : options_.contexts) {
      add({bench_.prefill(context)});
    }
    print();
  }

  void crossover() {
    bench::EngineBench::Crossover crossover = bench_.crossover(generation_);
    add(std::move(crossover.rows));
    store_crossover(engine_.model(), crossover.dense_up_to);
    print(crossover);
  }

 private:
  static Engine bench_engine(const BenchOptions& options) {
    EngineOptions engine = engine_options(options.model, options.common, 0);
    engine.load_tokenizer = false;
    engine.on_memory_plan = print_memory_plan;
    if (engine.max_cache_tokens == 0 && !options.contexts.empty()) {
      // What does not fit is refused before anything is loaded.
      engine.max_cache_tokens = bench::EngineBench::cache_tokens(
          *std::ranges::max_element(options.contexts), *std::ranges::max_element(options.batches),
          parse_policy(options.decoding.policy.value_or("dense")).value_or(Policy::kDense));
    }
    return Engine(engine);
  }

  void add(std::vector<bench::Row> rows) {
    rows_.insert(rows_.end(), rows.begin(), rows.end());
    print_note(fmt::format("measured {} of context {}", rows_.back().op, rows_.back().context));
  }

  [[nodiscard]] nlohmann::ordered_json to_json() const {
    nlohmann::ordered_json json;
    json["rows"] = bench::to_json(rows_);
    json["memory"] = describe_memory(engine_.model().memory);
    json["options"] = describe_options(generation_, engine_, options_.model, options_.common);
    json["options"]["context"] = options_.contexts;
    json["options"]["batch"] = options_.batches;
    json["options"]["repeats"] = options_.repeats;
    return json;
  }

  void print() const {
    if (options_.common.json) {
      print_json(to_json());
    } else {
      std::cout << bench::format_table(rows_);
    }
  }

  void print(const bench::EngineBench::Crossover& crossover) const {
    if (options_.common.json) {
      nlohmann::ordered_json json = to_json();
      json["dense_below"] = crossover.dense_up_to;
      json["found"] = crossover.found;
      print_json(std::move(json));
      return;
    }
    std::cout << bench::format_table(rows_);
    const std::string_view policy = policy_name(generation_.policy);
    std::cout << (crossover.found ? fmt::format("{} is faster than dense over more than {} tokens",
                                                policy, crossover.dense_up_to)
                                  : fmt::format("{} is not faster than dense up to {} tokens",
                                                policy, crossover.dense_up_to))
              << "; kept as the default of --dense-below for this model, device and number of "
                 "threads\n";
  }

  const BenchOptions& options_;
  Engine engine_;
  bench::EngineBench bench_;
  GenerationOptions generation_;
  std::vector<bench::Row> rows_;
};

void add_engine_options(CLI::App& command, BenchOptions& options, int repeats) {
  options.repeats = repeats;
  add_model_options(command, options.model);
  std::string shapes;
  for (const std::string& name : io::shape_names()) {
    shapes += (shapes.empty() ? "" : ", ") + name;
  }
  command
      .add_option("--shape", options.shape,
                  "Random weights in the shape of a known model instead of --model: " + shapes)
      ->excludes(command.get_option("--model"))
      ->check(CLI::IsMember(io::shape_names()))
      ->group("Model");
  command.get_option("--model")->required(false);
  command.add_option("--repeats", options.repeats, "Measured steps or prefills of a row")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  add_common_options(command, options.common);
}

void add_contexts(CLI::App& command, BenchOptions& options, std::vector<int64_t> contexts) {
  options.contexts = std::move(contexts);
  command.add_option("--context", options.contexts, "Tokens in the cache: a,b,…")
      ->delimiter(',')
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
}

void add_batches(CLI::App& command, BenchOptions& options) {
  command.add_option("--batch", options.batches, "Sequences that decode together: a,b,…")
      ->delimiter(',')
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
}

void run_session(BenchOptions& options, void (BenchSession::*measure)()) {
  apply_common_options(options.common);
  require(!options.model.model.empty() || !options.shape.empty(), ErrorCode::kInvalidArgument,
          "give the model to measure with --model or --shape");
  if (!options.shape.empty()) {
    options.model.model = "shape:" + options.shape;
  }
  BenchSession session(options);
  (session.*measure)();
}

void add_decode(CLI::App& bench) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command = bench.add_subcommand(
      "decode",
      "Time of a decode step over a cache filled with noise; dense, and the policy asked "
      "for beside it");
  command->footer(
      "Example:\n"
      "  lycheedecode bench decode --model smollm2 --context 0,2048,8192 --heads uniform:11 "
      "--budget 1024\n"
      "  lycheedecode bench decode --shape llama3-8b --context 32768,131072 --batch 1,2 --heads "
      "uniform:32");
  add_engine_options(*command, *options, 32);
  add_contexts(*command, *options, {0, 2048, 8192});
  add_batches(*command, *options);
  add_decoding_options(*command, options->decoding);
  add_sampling_options(*command, options->sampling);
  command->callback([options] { run_session(*options, &BenchSession::decode); });
}

void add_prefill(CLI::App& bench) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command =
      bench.add_subcommand("prefill", "Time to read a prompt of random tokens, one sequence");
  add_engine_options(*command, *options, 3);
  add_contexts(*command, *options, {2048, 8192});
  command->callback([options] { run_session(*options, &BenchSession::prefill); });
}

void add_crossover(CLI::App& bench) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command = bench.add_subcommand(
      "crossover",
      "The length from which a policy decodes faster than dense; kept as the default "
      "of --dense-below");
  add_engine_options(*command, *options, 16);
  add_decoding_options(*command, options->decoding);
  command->callback([options] { run_session(*options, &BenchSession::crossover); });
}

}  // namespace

void add_bench_command(CLI::App& app) {
  CLI::App* bench = app.add_subcommand("bench", "Measure speed against what memory allows");
  bench->require_subcommand(1);
  bench->footer("'lycheedecode bench COMMAND --help' explains a command.");
  add_decode(*bench);
  add_prefill(*bench);
  add_crossover(*bench);
  add_bench_linear(*bench);
  add_bench_attention(*bench);
  add_bench_select(*bench);
  add_bench_train(*bench);
}

}  // namespace lychee::cli
