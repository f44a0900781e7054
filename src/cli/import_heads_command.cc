#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <string>
#include <system_error>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/output.h"
#include "io/head_plan/head_plan_duo.h"
#include "io/model_files.h"

namespace lychee::cli {

namespace {

struct ImportOptions {
  CommonOptions common;
  std::string duo;
  std::string model;
  std::string out;
  std::optional<double> threshold;
  std::optional<int> num_retrieval;
};

void import_heads(const ImportOptions& options) {
  require(options.threshold.has_value() != options.num_retrieval.has_value(),
          ErrorCode::kInvalidArgument, "give either --threshold or --retrieval-heads");
  std::error_code error;
  require(!std::filesystem::exists(std::filesystem::path(options.out) / "head_roles.tsv", error),
          ErrorCode::kInvalidArgument, options.out,
          " holds a head plan already: give another folder");
  const io::ModelFiles files = io::open_model(resolve_model(options.model).string());
  const HeadPlanShape shape{files.config.num_layers, files.config.num_q_heads,
                            files.config.num_kv_heads, files.config.head_dim};
  const io::DuoImport imported =
      io::import_duo(options.duo, {options.threshold, options.num_retrieval});
  io::check_head_plan_shape(imported.files, shape, options.duo);
  save_head_plan(imported.files.plan, options.out, shape, files.name, "imported");
  if (options.common.json) {
    print_json({{"plan", options.out},
                {"num_retrieval", imported.files.plan.num_retrieval()},
                {"first_layer_set", imported.first_layer_set},
                {"options", {{"duo", options.duo}, {"model", options.model}}}});
    return;
  }
  print_note(fmt::format("{}: {} retrieval heads; {} heads of layer 0 were made retrieval",
                         options.out, imported.files.plan.num_retrieval(),
                         imported.first_layer_set));
}

}  // namespace

void add_import_heads_command(CLI::App& app) {
  auto options = std::make_shared<ImportOptions>();
  CLI::App* command =
      app.add_subcommand("import-heads", "Turn another project's head pattern into a head plan");
  command->footer(
      "Example:\n"
      "  lycheedecode import-heads --duo full_attention_heads.tsv --retrieval-heads 32 --model "
      "llama-3-8b --out plan");
  command
      ->add_option("--duo", options->duo, "DuoAttention's full_attention_heads.tsv, or its folder")
      ->required();
  command->add_option("--threshold", options->threshold, "Scores from here on retrieve");
  command->add_option("--retrieval-heads", options->num_retrieval,
                      "This many retrieve, layer 0's counted");
  command->add_option("--model", options->model, "The model that the pattern is for")->required();
  command->add_option("--out", options->out, "Plan folder to write")->required();
  add_common_options(*command, options->common);
  command->callback([options] {
    apply_common_options(options->common);
    import_heads(*options);
  });
}

}  // namespace lychee::cli
