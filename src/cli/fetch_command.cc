#include <fmt/format.h>

#include <iostream>
#include <memory>
#include <string>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/output.h"
#include "io/fetch/cache_dir.h"
#include "io/fetch/fetch.h"

namespace lychee::cli {

namespace {

struct FetchCommandOptions {
  CommonOptions common;
  std::string name;
  bool list = false;
};

nlohmann::ordered_json describe_fetch(const FetchCommandOptions& options) {
  return {{"name", options.name},
          {"list", options.list},
          {"cache", io::cache_dir().string()},
          {"seed", options.common.seed},
          {"threads", options.common.threads},
          {"device", options.common.device}};
}

void print_catalogue(const FetchCommandOptions& options) {
  nlohmann::ordered_json models = nlohmann::ordered_json::array();
  for (const io::CatalogueEntry& entry : io::catalogue()) {
    const bool cached = io::is_cached(entry);
    if (options.common.json) {
      models.push_back({{"name", entry.name},
                        {"file", entry.file},
                        {"bytes", entry.bytes},
                        {"sha256", entry.sha256},
                        {"license", entry.license},
                        {"cached", cached}});
    } else {
      std::cout << fmt::format("{:<20} {:>9}  {:<11} {}{}\n", entry.name,
                               format_bytes(static_cast<double>(entry.bytes)), entry.license,
                               entry.file, cached ? "  (fetched)" : "");
    }
  }
  if (options.common.json) {
    print_json({{"models", models}, {"options", describe_fetch(options)}});
  }
}

void fetch_model(const FetchCommandOptions& options) {
  io::FetchOptions fetch_options;
  io::FetchResult result;
  {
    ProgressBar bar("fetching " + options.name);
    fetch_options.progress = [&](int64_t bytes, int64_t total) { bar.update(bytes, total); };
    result = io::fetch(options.name, fetch_options);
  }
  if (options.common.json) {
    print_json({{"path", result.path.string()},
                {"bytes", result.bytes},
                {"sha256", result.sha256},
                {"source", result.source},
                {"options", describe_fetch(options)}});
    return;
  }
  std::cout << fmt::format("{}\n{}, SHA-256 {}, from {}\n", result.path.string(),
                           format_bytes(static_cast<double>(result.bytes)), result.sha256,
                           result.source);
}

}  // namespace

void add_fetch_command(CLI::App& app) {
  auto options = std::make_shared<FetchCommandOptions>();
  CLI::App* command = app.add_subcommand("fetch", "Download a model into the cache folder");
  command->footer(
      "Models lie in $XDG_CACHE_HOME/lycheedecode/models (default ~/.cache), checked against their "
      "SHA-256.\n"
      "HF_ENDPOINT names a mirror of the hub, HF_TOKEN a token for gated models; proxies and pip's "
      "configuration hold.\n"
      "Examples:\n"
      "  lycheedecode fetch smollm2\n"
      "  lycheedecode fetch --list\n"
      "  lycheedecode fetch hf:Qwen/Qwen3-0.6B\n"
      "  lycheedecode fetch hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF/qwen2.5-0.5b-instruct-q8_0.gguf");
  auto* name = command->add_option(
      "model", options->name, "A catalogue name (see --list), or hf:OWNER/REPO[/FILE] of the hub");
  command->add_flag("--list", options->list, "List the catalogue and what is fetched already")
      ->excludes(name);
  add_common_options(*command, options->common);
  command->callback([options] {
    apply_common_options(options->common);
    require(options->list || !options->name.empty(), ErrorCode::kInvalidArgument,
            "fetch needs a model: ", io::catalogue_names(), " or hf:OWNER/REPO[/FILE]");
    options->list ? print_catalogue(*options) : fetch_model(*options);
  });
}

}  // namespace lychee::cli
