#include "training/training_report.h"

#include <fmt/format.h>

#include "report/curves.h"
#include "report/head_map.h"
#include "report/heat_map.h"
#include "report/page.h"

namespace lychee::training {
namespace {

// The mean of every `width` steps: one step's loss depends on its sample more than on the gates.
template <typename Value>
report::Curve curve(const char* title, const std::vector<StepRecord>& history, size_t width,
                    const Value& value) {
  report::Curve result{title, "step", {}};
  for (size_t begin = 0; begin < history.size(); begin += width) {
    const size_t end = std::min(begin + width, history.size());
    double sum = 0;
    for (size_t i = begin; i < end; ++i) {
      sum += static_cast<double>(value(history[i]));
    }
    result.points.emplace_back(static_cast<double>(history[begin].step),
                               sum / static_cast<double>(end - begin));
  }
  return result;
}

report::HeatMap histograms(const std::vector<ScoreHistogram>& all) {
  report::HeatMap map{.title = "Scores of the gates over time (share of gates)",
                      .row_label = "score",
                      .column_label = "step",
                      .row_names = {},
                      .column_names = {},
                      .values = {}};
  for (const ScoreHistogram& histogram : all) {
    map.column_names.push_back(std::to_string(histogram.step));
  }
  for (int bin = kScoreBins - 1; bin >= 0; --bin) {
    map.row_names.push_back(fmt::format("{:.1f}–{:.1f}", static_cast<double>(bin) / kScoreBins,
                                        static_cast<double>(bin + 1) / kScoreBins));
    map.values.emplace_back();
    for (const ScoreHistogram& histogram : all) {
      map.values.back().push_back(histogram.share[bin]);
    }
  }
  return map;
}

report::HeatMap score_map(const std::vector<float>& scores, const HeadPlan& plan) {
  report::HeatMap map{.title = "Scores of the gates at the end",
                      .row_label = "layer",
                      .column_label = "KV head",
                      .row_names = {},
                      .column_names = {},
                      .values = {}};
  for (int head = 0; head < plan.num_kv_heads(); ++head) {
    map.column_names.push_back(std::to_string(head));
  }
  for (int layer = 0; layer < plan.num_layers(); ++layer) {
    map.row_names.push_back(std::to_string(layer));
    const auto begin = scores.begin() + static_cast<int64_t>(layer) * plan.num_kv_heads();
    map.values.emplace_back(begin, begin + plan.num_kv_heads());
  }
  return map;
}

report::HeadMap head_map(const HeadPlan& plan) {
  report::HeadMap map{.title = fmt::format("The plan: {} retrieval heads", plan.num_retrieval()),
                      .retrieval = {}};
  for (int layer = 0; layer < plan.num_layers(); ++layer) {
    map.retrieval.emplace_back();
    for (int head = 0; head < plan.num_kv_heads(); ++head) {
      map.retrieval.back().push_back(plan.role(layer, head) == HeadRole::kRetrieval);
    }
  }
  return map;
}

double mib(int64_t bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}

// The only part in which the report of a resumed run differs from an uninterrupted one's.
std::string cost_table(const RunCost& cost) {
  if (cost.steps == 0) {
    return "";
  }
  const StepTimes& times = cost.times;
  const auto seconds = [](double value) { return fmt::format("{:.3f}", value); };
  const double rest = cost.seconds - sum_of(times);
  return fmt::format(
             "<h2>Seconds per step</h2>\n<p>Means of the last {} steps; contexts are read "
             "once for all the steps that use them. Peak memory {:.0f} MiB{}.</p>\n",
             cost.steps, mib(cost.peak_bytes),
             cost.device_bytes == 0
                 ? ""
                 : fmt::format(", of the GPU's {:.0f} MiB", mib(cost.device_bytes))) +
         report::html_table({{"all", "prefill", "teacher", "student", "loss", "backward", "rest"},
                             {{seconds(cost.seconds), seconds(times.prefill),
                               seconds(times.teacher), seconds(times.student), seconds(times.loss),
                               seconds(times.backward), seconds(rest)}}});
}

// Curves over the steps, and the gates' scores.
void add_training(const Trainer<float>& trainer, std::vector<std::string>& fragments) {
  const TrainerState& state = trainer.state();
  const std::vector<StepRecord>& history = state.history;
  const size_t width = std::max<size_t>(history.size() / 100, 1);
  const auto add = [&](const char* title, const auto& value) {
    fragments.push_back(svg(curve(title, history, width, value)));
  };
  fragments.push_back(fmt::format(
      "<p>{} steps, {} of them skipped because they were not finite. {:.1f} % of the gates are "
      "undecided (score between 0.1 and 0.9). Curves show means of {} steps.</p>\n",
      history.size(), state.skipped, 100 * trainer.undecided(), width));
  add("Distillation loss", [](const StepRecord& r) { return r.loss; });
  add("Expected density", [](const StepRecord& r) { return r.density; });
  add("λ", [](const StepRecord& r) { return r.lambda; });
  add("Scores above 0.5, layer 0 included", [](const StepRecord& r) { return r.num_retrieval; });
  fragments.push_back(svg(histograms(state.histograms)));
}

// How the plan's own loss fell from round to round, and by which swaps.
void add_refinement(const RefinerState& state, int num_kv_heads,
                    std::vector<std::string>& fragments) {
  fragments.push_back(fmt::format(
      "<h2>Refinement</h2>\n<p>{} rounds, {} swaps. The objective is the loss of the plan "
      "itself, gates at 0 and 1, over fixed samples that training does not see, each as a share of "
      "its loss at the start. Heads are "
      "layer.head.</p>\n",
      state.rounds.size(), state.swaps.size()));
  report::Curve objective{"Objective", "rounds", {{0, state.rounds.front().before}}};
  for (size_t i = 0; i < state.rounds.size(); ++i) {
    objective.points.emplace_back(static_cast<double>(i + 1), state.rounds[i].after);
  }
  fragments.push_back(svg(objective));
  report::Table table{{"round", "now retrieves", "no longer"}, {}};
  for (const RefinerSwap& swap : state.swaps) {
    table.rows.push_back({std::to_string(swap.round + 1), head_name(swap.opened, num_kv_heads),
                          head_name(swap.closed, num_kv_heads)});
  }
  fragments.push_back(report::html_table(table));
}

}  // namespace

std::string render_training_report(const Trainer<float>& trainer, const io::HeadPlanFiles& files,
                                   const RefinerState& refinement, const RunCost& cost) {
  std::vector<std::string> fragments;
  if (!trainer.state().history.empty()) {
    add_training(trainer, fragments);
  }
  if (!refinement.rounds.empty()) {
    add_refinement(refinement, files.plan.num_kv_heads(), fragments);
  }
  if (!files.scores.empty()) {
    fragments.push_back(svg(score_map(files.scores, files.plan)));
  }
  fragments.push_back(svg(head_map(files.plan)));
  fragments.push_back(cost_table(cost));
  fragments.push_back("<h2>Options</h2>\n<pre>" + report::escape_html(files.training) + "</pre>\n");
  return report::html_page("Head training", fragments);
}

}  // namespace lychee::training
