#include "cli/eval_settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "cli/number_checks.h"
#include "cli/output.h"
#include "io/fetch/sha256.h"
#include "io/head_plan/head_plan_files.h"

namespace lychee::cli {
namespace {

// Small budgets leave no room for the default forced tokens; tables with them say so.
constexpr int kSmallBudget = 512;
constexpr int kSmallSink = 16;
constexpr int kSmallRecent = 64;

// What settings may differ in: by a list, or because a head plan brings its own.
constexpr std::array kCompared{"policy",
                               "heads",
                               "budget",
                               "sink",
                               "recent",
                               "select",
                               "select_ratio",
                               "select_mass",
                               "select_threshold",
                               "cache_correction",
                               "layers"};

template <typename T>
std::vector<std::optional<T>> or_else(const std::vector<T>& list, const std::optional<T>& single) {
  if (list.empty()) {
    return {single};
  }
  return {list.begin(), list.end()};
}

class Settings {
 public:
  Settings(const EvalLists& lists, const DecodingOptions& decoding, const std::string& model_spec,
           const ModelInfo& model)
      : lists_(lists), decoding_(decoding), model_spec_(model_spec), model_(model) {}

  std::vector<GenerationOptions> all() {
    for (const auto& policy : or_else(lists_.policies, decoding_.policy)) {
      const auto parsed = policy ? parse_policy(*policy) : std::nullopt;
      require(!policy || parsed, ErrorCode::kInvalidArgument, "--policies: no policy '",
              policy.value_or(""),
              "'; there are dense, hybrid, layer-shared, streaming, duo and page-bound");
      const bool takes_plan = !parsed || policy_needs_plan(*parsed);
      DecodingOptions decoding = decoding_;
      decoding.policy = policy;
      for (const auto& plan : or_else(takes_plan ? lists_.heads : std::vector<std::string>(),
                                      std::optional<std::string>())) {
        decoding.heads = plan;
        add_budgets(decoding);
      }
    }
    return std::move(settings_);
  }

 private:
  void add_budgets(DecodingOptions decoding) {
    for (const auto& budget : or_else(lists_.budgets, decoding_.budget)) {
      for (const auto& correction : or_else(lists_.corrections, decoding_.cache_correction)) {
        decoding.budget = budget;
        decoding.cache_correction = correction;
        add(decoding);
      }
    }
  }

  void add(DecodingOptions decoding) {
    const std::optional<int> budget = decoding.budget;
    const bool small = budget && *budget < kSmallBudget && !decoding_.sink && !decoding_.recent;
    if (small) {
      decoding.sink = kSmallSink;
      decoding.recent = kSmallRecent;
    }
    GenerationOptions setting = generation_options(decoding, model_spec_, model_, int64_t{0});
    if (!lists_.policies.empty() && setting.policy != Policy::kLayerShared) {
      setting.selecting_layers.clear();  // meant for another policy of the list
    }
    const std::string heads = setting.head_plan ? setting.head_plan->name : "";
    const bool dense = setting.policy == Policy::kDense;
    if (!seen_
             .insert({setting.policy, heads, dense ? 0 : setting.selection.budget,
                      dense ? 0 : setting.cache_correction})
             .second) {
      return;
    }
    if (small && !dense && noted_.insert(*budget).second) {
      print_note(fmt::format("budget {}: sink {}, recent {}", *budget, kSmallSink, kSmallRecent));
    }
    settings_.push_back(setting);
  }

  const EvalLists& lists_;
  const DecodingOptions& decoding_;
  const std::string& model_spec_;
  const ModelInfo& model_;
  std::vector<GenerationOptions> settings_;
  std::set<std::tuple<Policy, std::string, int, int>> seen_;
  std::set<int> noted_;
};

}  // namespace

void add_eval_lists(CLI::App& command, EvalLists& lists) {
  command.add_option("--policies", lists.policies, "Policies to compare: a,b,…")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->excludes("--policy");
  command.add_option("--budgets", lists.budgets, "Budgets to compare: a,b,…")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->excludes("--budget")
      ->check(whole_number(1));
  command
      .add_option("--heads", lists.heads,
                  "Head plans to compare: folders, uniform:N, random:N:SEED, builtin, "
                  "builtin:swapped")
      ->delimiter(',')
      ->allow_extra_args(false);
  command
      .add_option("--cache-corrections", lists.corrections,
                  "Periods of cache correction to compare: a,b,…; 0: off")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->excludes("--cache-correction")
      ->check(whole_number());
}

std::vector<GenerationOptions> eval_settings(const EvalLists& lists,
                                             const DecodingOptions& decoding,
                                             const std::string& model_spec,
                                             const ModelInfo& model) {
  return Settings(lists, decoding, model_spec, model).all();
}

nlohmann::ordered_json describe_settings(const std::vector<GenerationOptions>& settings,
                                         const Engine& engine, const ModelOptions& model,
                                         const CommonOptions& common) {
  nlohmann::ordered_json json{{"model", model.model}};  // what differs first is what a user is told
  json.update(describe_options(settings.front(), engine, model, common));
  auto list = nlohmann::ordered_json::array();
  for (const GenerationOptions& setting : settings) {
    const auto all = describe_options(setting, engine, model, common);
    nlohmann::ordered_json entry;
    for (const char* name : kCompared) {
      entry[name] = all.value(name, nlohmann::ordered_json());
    }
    list.push_back(entry);
  }
  for (const char* name : kCompared) {
    nlohmann::ordered_json values = nlohmann::ordered_json::array();
    for (const auto& entry : list) {
      if (std::find(values.begin(), values.end(), entry[name]) == values.end()) {
        values.push_back(entry[name]);
      }
    }
    json[name] = values.size() == 1 ? values.front() : values;
  }
  json["settings"] = std::move(list);
  auto& plans = json["head_plans_sha256"] = nlohmann::ordered_json::object();
  for (const GenerationOptions& setting : settings) {
    if (setting.head_plan) {
      const std::string roles = io::format_roles(*setting.head_plan);
      plans[setting.head_plan->name] = io::sha256_hex(roles);
    }
  }
  return json;
}

}  // namespace lychee::cli
