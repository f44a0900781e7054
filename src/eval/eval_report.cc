#include "eval/eval_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "report/line_chart.h"
#include "report/page.h"

namespace lychee::eval {
namespace {

std::string setting_name(const EvalRow& row) {
  std::string name = row.policy;
  name += row.heads.empty() ? "" : " " + row.heads;
  name += row.budget == 0 ? "" : " " + std::to_string(row.budget);
  return name;
}

// The element of `items` whose `name` this is, added when there is none.
template <typename Item>
Item& find_or_add(std::vector<Item>& items, std::string Item::*field, const std::string& name) {
  auto found = std::find_if(items.begin(), items.end(),
                            [&](const Item& item) { return item.*field == name; });
  if (found == items.end()) {
    items.emplace_back();
    items.back().*field = name;
    found = items.end() - 1;
  }
  return *found;
}

std::vector<report::LineChart> make_charts(const std::vector<EvalRow>& rows) {
  std::vector<report::LineChart> charts;
  for (const EvalRow& row : rows) {
    report::LineChart& chart = find_or_add(charts, &report::LineChart::title, row.task);
    chart.x_label = "tokens";
    chart.y_label = "score";
    find_or_add(chart.series, &report::Series::name, setting_name(row))
        .points.emplace_back(static_cast<double>(row.length), row.score);
  }
  for (report::LineChart& chart : charts) {
    for (report::Series& series : chart.series) {
      std::sort(series.points.begin(), series.points.end());
    }
  }
  return charts;
}

}  // namespace

std::string render_report(const std::vector<EvalRow>& rows, const nlohmann::ordered_json& options) {
  std::vector<std::string> fragments;
  for (const report::LineChart& chart : make_charts(rows)) {
    fragments.push_back("<h2>" + report::escape_html(chart.title) + "</h2>\n" + svg(chart));
  }
  report::Table table;
  table.header = {"task",    "length", "policy", "heads",   "budget",
                  "samples", "score",  "95 %",   "KV read", "tokens/s"};
  for (const EvalRow& row : rows) {
    table.rows.push_back(
        {row.task, std::to_string(row.length), row.policy, row.heads,
         row.budget == 0 ? "" : std::to_string(row.budget), std::to_string(row.samples),
         fmt::format("{:.3f}", row.score), fmt::format("{:.3f}…{:.3f}", row.ci_low, row.ci_high),
         fmt::format("{:.3f}", row.kv_read), fmt::format("{:.1f}", row.tokens_per_s)});
  }
  fragments.push_back(report::html_table(table));
  fragments.push_back("<h2>Options</h2>\n<pre>" + report::escape_html(options.dump(2)) +
                      "</pre>\n");
  return report::html_page("LycheeDecode evaluation", fragments);
}

}  // namespace lychee::eval
