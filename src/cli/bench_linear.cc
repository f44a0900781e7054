#include "cli/bench_linear.h"

#include <memory>
#include <string>
#include <vector>

#include "bench/linear_bench.h"
#include "cli/bench_rows.h"
#include "cli/common_options.h"

namespace lychee::cli {

namespace {

struct LinearOptions {
  CommonOptions common;
  std::string shape = "llama3-8b";
  std::vector<std::string> weights = {"bf16"};
  std::vector<int> batches = {1};
  int repeats = 15;
};

void run(const LinearOptions& options) {
  apply_common_options(options.common);
  const std::vector<bench::LinearShape> shapes = bench::linear_shapes(options.shape);
  bench::LinearBench bench(options.repeats);
  std::vector<bench::Row> rows;
  for (const std::string& weights : options.weights) {
    for (const int batch : options.batches) {
      for (const bench::LinearShape& shape : shapes) {
        rows.push_back(bench.measure(shape, weights, batch));
      }
    }
  }
  print_rows(rows, options.common.json,
             {{"shape", options.shape},
              {"weights", options.weights},
              {"batch", options.batches},
              {"repeats", options.repeats}});
}

}  // namespace

void add_bench_linear(CLI::App& bench) {
  auto options = std::make_shared<LinearOptions>();
  CLI::App* command = bench.add_subcommand(
      "linear",
      "Linear layers of a decode step on the GPU, cold, beside a plain read of their bytes");
  command->footer(
      "Example:\n"
      "  lycheedecode bench linear --shape llama3-8b --weights bf16,int8,int4 --batch 1,4,8");
  command->add_option("--shape", options->shape, "llama3-8b, llama3-70b, qwen3-8b or qwen2.5-7b")
      ->capture_default_str();
  command
      ->add_option("--weights", options->weights,
                   "bf16, fp8, int8, int4 or a GGUF type such as q4_K: a,b,…")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--batch", options->batches, "Rows of activations: a,b,…")
      ->delimiter(',')
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command->add_option("--repeats", options->repeats, "Measured launches of a row")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  add_common_options(*command, options->common);
  command->callback([options] { run(*options); });
}

}  // namespace lychee::cli
