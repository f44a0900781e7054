#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/interrupt.h"
#include "cli/number_checks.h"
#include "cli/output.h"
#include "eval/eval_report.h"
#include "eval/runner.h"

namespace lychee::cli {

namespace {

struct EvalCommandOptions {
  CommonOptions common;
  ModelOptions model;
  DecodingOptions decoding;
  std::vector<std::string> tasks;
  std::vector<int64_t> lengths = {1024, 8192};
  int samples = 10;
  std::vector<std::string> policies;
  std::vector<int> budgets;
  std::vector<std::string> heads;
  std::string out;
  bool resume = false;
};

// Small budgets leave no room for the default forced tokens; tables with them say so.
constexpr int kSmallBudget = 512;
constexpr int kSmallSink = 16;
constexpr int kSmallRecent = 64;

class EvalSession {
 public:
  explicit EvalSession(const EvalCommandOptions& options)
      : options_(options), engine_(engine_options(options.model, options.common)) {
    eval_.tasks = options.tasks;
    eval_.lengths = options.lengths;
    eval_.samples = options.samples;
    eval_.seed = options.common.seed;
    add_settings();
    check_eval_options(eval_, engine_.model());
  }

  void run() {
    std::optional<eval::ResultFolder> folder;
    if (!options_.out.empty()) {
      folder.emplace(options_.out, describe(), options_.resume);
    }
    const InterruptGuard guard;
    std::optional<ProgressBar> bar;
    std::string label;
    const auto results = eval::run_eval(
        engine_, eval_, folder ? &*folder : nullptr, [&](const eval::EvalProgress& progress) {
          const std::string next = fmt::format("{} {} {}/{}", progress.task, progress.length,
                                               progress.sample + 1, eval_.samples);
          if (next != label) {
            label = next;
            bar.emplace(label);
          }
          bar->update(progress.prompt_done, progress.prompt_total);
          return !guard.interrupted();
        });
    bar.reset();
    if (guard.interrupted()) {
      print_note("stopped; the rows hold what was done");
    }
    const std::vector<eval::EvalRow> rows = eval::summarize(results);
    if (folder) {
      folder->write_report(eval::render_report(rows, describe()));
    }
    print(rows);
  }

 private:
  // Every policy with every head plan and budget that it has a use for.
  void add_settings() {
    std::vector<std::optional<std::string>> policies(options_.policies.begin(),
                                                     options_.policies.end());
    if (policies.empty()) {
      policies.push_back(options_.decoding.policy);
    }
    std::vector<std::optional<int>> budgets(options_.budgets.begin(), options_.budgets.end());
    if (budgets.empty()) {
      budgets.push_back(options_.decoding.budget);
    }
    for (const std::optional<std::string>& policy : policies) {
      const auto parsed = policy ? parse_policy(*policy) : std::nullopt;
      require(!policy || parsed, ErrorCode::kInvalidArgument, "--policies: no policy '",
              policy.value_or(""),
              "'; there are dense, hybrid, layer-shared, streaming, duo and page-bound");
      std::vector<std::optional<std::string>> plans(options_.heads.begin(), options_.heads.end());
      if (plans.empty() || (parsed && !policy_needs_plan(*parsed))) {
        plans = {std::nullopt};
      }
      for (const std::optional<std::string>& plan : plans) {
        for (const std::optional<int>& budget : budgets) {
          add_setting(policy, plan, budget);
        }
      }
    }
  }

  void add_setting(const std::optional<std::string>& policy, const std::optional<std::string>& plan,
                   const std::optional<int>& budget) {
    DecodingOptions decoding = options_.decoding;
    decoding.policy = policy;
    decoding.heads = plan;
    decoding.budget = budget;
    if (budget && *budget < kSmallBudget && !decoding.sink && !decoding.recent) {
      decoding.sink = kSmallSink;
      decoding.recent = kSmallRecent;
      print_note(fmt::format("budget {}: sink {}, recent {}", *budget, kSmallSink, kSmallRecent));
    }
    const GenerationOptions setting =
        generation_options(decoding, options_.model.model, engine_.model(), int64_t{0});
    const std::string heads = setting.head_plan ? setting.head_plan->name : "";
    const int key_budget = setting.policy == Policy::kDense ? 0 : setting.selection.budget;
    if (seen_.insert({setting.policy, heads, key_budget}).second) {
      eval_.settings.push_back(setting);
    }
  }

  // An option that the settings differ in is a list of its values.
  [[nodiscard]] nlohmann::ordered_json describe() const {
    nlohmann::ordered_json json =
        describe_options(eval_.settings.front(), engine_, options_.model, options_.common);
    json.erase("max_tokens");  // what the answer needs
    json["settings"] = nlohmann::ordered_json::array();
    for (const GenerationOptions& setting : eval_.settings) {
      const auto all = describe_options(setting, engine_, options_.model, options_.common);
      nlohmann::ordered_json entry;
      for (const char* name : {"policy", "heads", "budget", "sink", "recent"}) {
        entry[name] = all[name];
      }
      json["settings"].push_back(entry);
    }
    for (const char* name : {"policy", "heads", "budget", "sink", "recent"}) {
      nlohmann::ordered_json values = nlohmann::ordered_json::array();
      for (const auto& entry : json["settings"]) {
        if (std::find(values.begin(), values.end(), entry[name]) == values.end()) {
          values.push_back(entry[name]);
        }
      }
      json[name] = values.size() == 1 ? values.front() : values;
    }
    json["tasks"] = eval_.tasks;
    json["lengths"] = eval_.lengths;
    json["samples"] = eval_.samples;
    return json;
  }

  void print(const std::vector<eval::EvalRow>& rows) const {
    if (options_.common.json) {
      nlohmann::ordered_json json;
      json["rows"] = nlohmann::ordered_json::array();
      for (const eval::EvalRow& row : rows) {
        json["rows"].push_back(eval::to_json(row));
      }
      json["options"] = describe();
      print_json(std::move(json));
      return;
    }
    fmt::print("{:<9}{:>9}  {:<13}{:<18}{:>7}{:>9}{:>7}  {:<14}{:>8}{:>10}\n", "task", "length",
               "policy", "heads", "budget", "samples", "score", "95 %", "kv read", "tokens/s");
    for (const eval::EvalRow& row : rows) {
      fmt::print(
          "{:<9}{:>9}  {:<13}{:<18}{:>7}{:>9}{:>7.2f}  {:.2f}…{:.2f}     {:>8.3f}{:>10.1f}\n",
          row.task, row.length, row.policy, row.heads, row.budget, row.samples, row.score,
          row.ci_low, row.ci_high, row.kv_read, row.tokens_per_s);
    }
  }

  const EvalCommandOptions& options_;
  Engine engine_;
  eval::EvalOptions eval_;
  std::set<std::tuple<Policy, std::string, int>> seen_;
};

}  // namespace

void add_eval_command(CLI::App& app) {
  auto options = std::make_shared<EvalCommandOptions>();
  CLI::App* command = app.add_subcommand("eval", "Score a model on long-context tasks");
  command->footer(
      "Tasks: passkey (a 5-digit key in repeated filler).\n"
      "Every prompt is prefilled once and answered under each policy, head plan and budget.\n"
      "Examples:\n"
      "  lycheedecode eval passkey --model builtin:needle --lengths 1024,8192,65536 --budgets 512\n"
      "  lycheedecode eval passkey --model smollm2 --lengths 4096 --policies "
      "dense,hybrid,streaming "
      "--heads uniform:22,random:22:1 --budgets 512,1024 --out results");
  command->add_option("TASK", options->tasks, "Tasks to run: passkey")
      ->required()
      ->check(CLI::IsMember({"passkey"}));
  add_model_options(*command, options->model);
  command
      ->add_option("--lengths", options->lengths,
                   "Tokens of prompt and answer together: a,b,… (default 1024,8192)")
      ->delimiter(',')
      ->check(whole_number(1, std::numeric_limits<int64_t>::max()));
  command->add_option("--samples", options->samples, "Samples per task and length")
      ->check(whole_number(1))
      ->capture_default_str();
  command->add_option("--policies", options->policies, "Policies to compare: a,b,…")
      ->delimiter(',');
  command->add_option("--budgets", options->budgets, "Budgets to compare: a,b,…")
      ->delimiter(',')
      ->check(whole_number(1));
  command->add_option("--out", options->out,
                      "Folder for options.json, results.jsonl (a line per sample) and report.html");
  command->add_flag("--resume", options->resume, "Go on where results of the same options end");
  add_decoding_options(*command, options->decoding);
  command->remove_option(command->get_option("--heads"));
  command
      ->add_option("--heads", options->heads,
                   "Head plans to compare: folders, uniform:N, random:N:SEED, builtin, "
                   "builtin:swapped")
      ->delimiter(',');
  add_common_options(*command, options->common);
  command->callback([options] {
    apply_common_options(options->common);
    require(!options->resume || !options->out.empty(), ErrorCode::kInvalidArgument,
            "--resume needs --out, the folder to go on in");
    EvalSession(*options).run();
  });
}

}  // namespace lychee::cli
