#include "eval/eval_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "eval/rows.h"
#include "report/heat_map.h"
#include "report/line_chart.h"
#include "report/page.h"

namespace lychee::eval {
namespace {

using Rows = std::vector<EvalRow>;
using Points = std::vector<std::pair<double, double>>;

constexpr const char* kPerplexity = "perplexity";

// Policy, plan and correction: what a line over budgets joins.
std::string method_of(const EvalRow& row) {
  EvalRow method = row;
  method.budget = 0;
  return method.setting();
}

Rows rows_of(const Rows& rows, const std::string& task, int64_t length) {
  Rows found;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(found), [&](const EvalRow& row) {
    return row.task == task && (length == 0 || row.length == length);
  });
  return found;
}

// Series in the order in which their names first come.
class Chart {
 public:
  Chart(std::string title, std::string x_label, const Rows& rows) {
    chart_.title = std::move(title);
    chart_.x_label = std::move(x_label);
    chart_.y_label = rows.front().task == kPerplexity ? kPerplexity : "score";
  }
  void add(const std::string& series, double x, double y) {
    auto found = std::find_if(chart_.series.begin(), chart_.series.end(),
                              [&](const report::Series& one) { return one.name == series; });
    if (found == chart_.series.end()) {
      chart_.series.push_back({series, {}});
      found = chart_.series.end() - 1;
    }
    found->points.emplace_back(x, y);
    low_ = std::min(low_, y);
    high_ = std::max(high_, y);
  }
  [[nodiscard]] std::string draw() {
    for (report::Series& series : chart_.series) {
      std::sort(series.points.begin(), series.points.end());
    }
    if (chart_.y_label == kPerplexity) {  // which has no natural range
      const double margin = high_ > low_ ? (high_ - low_) / 20 : low_ / 10;
      chart_.y_min = low_ - margin;
      chart_.y_max = high_ + margin;
    }
    return "<h3>" + report::escape_html(chart_.title) + "</h3>\n" + svg(chart_);
  }

 private:
  report::LineChart chart_;
  double low_ = std::numeric_limits<double>::infinity();
  double high_ = -std::numeric_limits<double>::infinity();
};

template <typename Item, typename Field>
auto values_of(const std::vector<Item>& items, Field field) {
  std::set<std::decay_t<decltype(field(items.front()))>> values;
  for (const Item& item : items) {
    values.insert(field(item));
  }
  return values;
}

std::string by_length(const Rows& rows) {
  Chart chart("by length", "tokens", rows);
  for (const EvalRow& row : rows) {
    chart.add(row.setting(), static_cast<double>(row.length), row.score);
  }
  return chart.draw();
}

// What has no budget is a level line.
std::string by_budget(const Rows& rows) {
  auto budgets = values_of(rows, [](const EvalRow& row) { return row.budget; });
  budgets.erase(0);
  if (budgets.size() < 2) {
    return "";
  }
  Chart chart(fmt::format("by budget, {} tokens", rows.front().length), "budget", rows);
  for (const EvalRow& row : rows) {
    for (const int64_t budget : budgets) {
      if (row.budget == 0 || row.budget == budget) {
        chart.add(method_of(row), static_cast<double>(budget), row.score);
      }
    }
  }
  return chart.draw();
}

std::string by_bytes(const Rows& rows) {
  if (rows.size() < 2 || rows.front().kv_bytes_per_step <= 0) {
    return "";
  }
  Chart chart(fmt::format("by KV read, {} tokens", rows.front().length),
              "MB of K and V a decode step reads", rows);
  for (const EvalRow& row : rows) {
    chart.add(method_of(row), std::round(row.kv_bytes_per_step / 1e4) / 100, row.score);
  }
  return chart.draw();
}

// Score by depth and length of the samples that have a depth, for each setting.
std::string by_depth(const std::vector<SampleResult>& results, const Rows& rows) {
  std::string html;
  std::set<std::string> drawn;
  for (const EvalRow& row : rows) {
    if (!drawn.insert(row.setting()).second) {
      continue;
    }
    std::map<double, std::map<int64_t, double>> scores;
    for (const SampleResult& result : results) {
      if (result.task == row.task && result.policy == row.policy && result.heads == row.heads &&
          result.budget == row.budget && result.cache_correction == row.cache_correction &&
          result.depth > 0) {
        scores[result.depth][result.length] = result.score;
      }
    }
    if (scores.size() < 2) {
      continue;
    }
    report::HeatMap map;
    map.title = row.setting();
    map.row_label = "depth";
    map.column_label = "tokens";
    const auto lengths = values_of(rows, [](const EvalRow& other) { return other.length; });
    for (const int64_t length : lengths) {
      map.column_names.push_back(std::to_string(length));
    }
    for (const auto& [depth, line] : scores) {
      map.row_names.push_back(fmt::format("{:.0f} %", 100 * depth));
      std::vector<double>& values = map.values.emplace_back();
      for (const int64_t length : lengths) {
        const auto found = line.find(length);
        values.push_back(found == line.end() ? std::numeric_limits<double>::quiet_NaN()
                                             : found->second);
      }
    }
    html += svg(map);
  }
  return html.empty() ? "" : "<h3>score by depth and length</h3>\n" + html;
}

std::string recall_map(const EvalRow& row) {
  if (row.recall.empty() || row.policy == "dense") {
    return "";
  }
  report::HeatMap map;
  map.title = row.setting();
  map.row_label = "layer";
  map.column_label = "KV head";
  for (size_t head = 0; head < row.recall.front().size(); ++head) {
    map.column_names.push_back(std::to_string(head));
  }
  for (size_t layer = 0; layer < row.recall.size(); ++layer) {
    map.row_names.push_back(std::to_string(layer));
    std::vector<double>& values = map.values.emplace_back();
    for (const double recall : row.recall[layer]) {
      values.push_back(recall < 0 ? std::numeric_limits<double>::quiet_NaN() : recall);
    }
  }
  return svg(map);
}

std::string recall_maps(const Rows& rows) {
  std::string html;
  for (const EvalRow& row : rows) {
    html += recall_map(row);
  }
  return html.empty()
             ? ""
             : fmt::format("<h3>mass that each sparse head's set covers, {} tokens</h3>\n{}",
                           rows.front().length, html);
}

std::string task_section(const std::vector<SampleResult>& results, const Rows& all,
                         const std::string& task) {
  const Rows rows = rows_of(all, task, 0);
  std::string html = "<h2>" + report::escape_html(task) + "</h2>\n" + by_length(rows);
  for (const int64_t length : values_of(rows, [](const EvalRow& row) { return row.length; })) {
    const Rows some = rows_of(all, task, length);
    html += by_budget(some) + by_bytes(some) + recall_maps(some);
  }
  return html + by_depth(results, rows);
}

// Three decimals; fewer figures for a perplexity beyond all scores; no negative zero.
std::string short_number(double value) {
  return std::abs(value) >= 1e4 ? fmt::format("{:.4g}", value)
                                : fmt::format("{:.3f}", std::abs(value) < 5e-4 ? 0.0 : value);
}

// Empty where it is not known.
std::string interval_text(const Interval& interval) {
  return interval.is_known() ? short_number(interval.low) + "…" + short_number(interval.high) : "";
}

std::string below_dense(const EvalRow& row) {
  if (!std::isfinite(row.difference)) {
    return "";
  }
  const std::string interval =
      interval_text({-row.difference_interval.high, -row.difference_interval.low});
  return short_number(-row.difference) + (interval.empty() ? "" : " (" + interval + ")");
}

std::string table_of(const Rows& rows) {
  report::Table table;
  table.header = {"task", "length",      "setting", "samples",  "score",
                  "95 %", "below dense", "KV read", "tokens/s", "more"};
  for (const EvalRow& row : rows) {
    std::string more;
    for (const auto& [name, value] : row.metrics) {
      more += fmt::format("{}{} {:.4g}", more.empty() ? "" : ", ", name, value);
    }
    table.rows.push_back(
        {row.task, std::to_string(row.length), row.setting(), std::to_string(row.samples),
         short_number(row.score), interval_text(row.interval), below_dense(row),
         fmt::format("{:.3f}", row.kv_read), fmt::format("{:.1f}", row.tokens_per_s), more});
  }
  return html_table(table);
}

std::string costs_of(const EvalTotals& totals) {
  return fmt::format(
      "<p>{} prompts took {} prefills, {} tokens in {:.1f} s; their caches were shared by {} "
      "answers, "
      "which decoded for {:.1f} s, and {} tokens were not prefilled again. All that was done for "
      "the "
      "prompts took {:.1f} s, {:.2f} times prefill and decode steps together.</p>\n",
      totals.prompts, totals.prefills, totals.prefilled_tokens, totals.prefill_seconds,
      totals.answers, totals.decode_seconds, totals.shared_tokens, totals.seconds,
      totals.overhead());
}

}  // namespace

std::string render_report(const std::vector<SampleResult>& results,
                          const nlohmann::ordered_json& options) {
  const Rows rows = summarize(results);
  std::vector<std::string> fragments{costs_of(total(results)), table_of(rows)};
  std::vector<std::string> tasks;
  for (const EvalRow& row : rows) {
    if (std::find(tasks.begin(), tasks.end(), row.task) == tasks.end()) {
      tasks.push_back(row.task);
      fragments.push_back(task_section(results, rows, row.task));
    }
  }
  fragments.push_back("<h2>Options</h2>\n<pre>" + report::escape_html(options.dump(2)) +
                      "</pre>\n");
  return report::html_page("LycheeDecode evaluation", fragments);
}

}  // namespace lychee::eval
