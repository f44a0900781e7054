#include "cli/bench_attention.h"

#include <fmt/format.h>

#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "bench/attention_bench.h"
#include "cli/common_options.h"
#include "cli/output.h"
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
  int retrieval_heads = 1;
  int repeats = 15;
  Selection selection;
};

DType parse_kv_dtype(const std::string& name) {
  const std::map<std::string, DType> names = {
      {"f16", DType::kF16}, {"bf16", DType::kBF16}, {"fp8", DType::kF8E4M3}};
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
  command.add_option("--repeats", options.repeats, "Measured launches of a row")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  add_common_options(command, options.common);
}

void print_kernel_rows(const KernelBenchOptions& options, const std::vector<bench::Row>& rows) {
  if (!options.common.json) {
    std::cout << bench::format_table(rows);
    return;
  }
  nlohmann::ordered_json json;
  json["rows"] = bench::to_json(rows);
  json["options"] = {{"shape", options.shape},
                     {"context", options.contexts},
                     {"batch", options.batches},
                     {"kv_dtype", options.kv_dtype},
                     {"select", options.select},
                     {"budget", options.selection.budget},
                     {"retrieval_heads", options.retrieval_heads},
                     {"repeats", options.repeats},
                     {"seed", options.common.seed}};
  print_json(std::move(json));
}

// Calls `measure` for every context and batch; it adds its rows.
template <typename Measure>
void run_kernel_bench(const char* op, KernelBenchOptions& options, const Measure& measure) {
  apply_common_options(options.common);
  options.selection.mode = *parse_select_mode(options.select);
  validate(options.selection);
  bench::require_kernel_bench(op);
  const io::ModelConfig config = io::shape_config("shape:" + options.shape);
  require(options.retrieval_heads <= config.num_kv_heads, ErrorCode::kInvalidArgument,
          "--retrieval-heads ", options.retrieval_heads, " is above the ", config.num_kv_heads,
          " KV heads of ", options.shape);
  bench::AttentionBench session(options.repeats, static_cast<uint64_t>(options.common.seed));
  std::vector<bench::Row> rows;
  for (const int64_t context : options.contexts) {
    for (const int batch : options.batches) {
      bench::AttentionCase c{.num_q_heads = config.num_q_heads,
                             .num_kv_heads = config.num_kv_heads,
                             .head_dim = config.head_dim,
                             .kv_dtype = parse_kv_dtype(options.kv_dtype),
                             .context = context,
                             .batch = batch,
                             .num_retrieval = options.retrieval_heads,
                             .selection = options.selection};
      measure(session, c, rows);
      print_note(fmt::format("measured {} of context {}, batch {}", op, context, batch));
    }
  }
  print_kernel_rows(options, rows);
}

}  // namespace

void add_bench_attention(CLI::App& bench) {
  auto options = std::make_shared<KernelBenchOptions>();
  CLI::App* command = bench.add_subcommand(
      "attention", "Decode attention of one layer on the GPU, dense and hybrid (CUDA backend)");
  command->footer(
      "Example:\n"
      "  lycheedecode bench attention --shape llama3-8b --context 32768,131072 --batch 1,4,8");
  add_kernel_options(*command, *options);
  command->add_option("--kv-dtype", options->kv_dtype, "Type of K and V")
      ->check(CLI::IsMember({"f16", "bf16", "fp8"}))
      ->capture_default_str();
  command->callback([options] {
    run_kernel_bench("attention", *options,
                     [](bench::AttentionBench& session, bench::AttentionCase c, auto& rows) {
                       const int retrieval_heads = c.num_retrieval;
                       c.num_retrieval = c.num_kv_heads;
                       rows.push_back(session.attention(c));
                       if (retrieval_heads < c.num_kv_heads) {
                         c.num_retrieval = retrieval_heads;
                         rows.push_back(session.attention(c));
                       }
                     });
  });
}

void add_bench_select(CLI::App& bench) {
  auto options = std::make_shared<KernelBenchOptions>();
  CLI::App* command = bench.add_subcommand(
      "select", "Selection for the retrieval heads of one layer on the GPU (CUDA backend)");
  command->footer(
      "Example:\n"
      "  lycheedecode bench select --context 131072 --batch 1,8 --retrieval-heads 1");
  add_kernel_options(*command, *options);
  command->add_option("--select", options->select, "Rule")
      ->check(CLI::IsMember({"topk", "block"}))
      ->capture_default_str();
  command->callback([options] {
    run_kernel_bench("select", *options,
                     [](bench::AttentionBench& session, const bench::AttentionCase& c, auto& rows) {
                       rows.push_back(session.select(c));
                     });
  });
}

}  // namespace lychee::cli
