#include "eval/rows.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <tuple>

namespace lychee::eval {
namespace {

using RowKey = std::tuple<std::string, int64_t, std::string, std::string, int64_t, int>;
using Group = std::vector<const SampleResult*>;

RowKey row_key(const SampleResult& result) {
  return {result.task,  result.length, result.policy,
          result.heads, result.budget, result.cache_correction};
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) {
    sum += value;
  }
  return values.empty() ? std::numeric_limits<double>::quiet_NaN()
                        : sum / static_cast<double>(values.size());
}

void add_score(const Group& group, EvalRow& row) {
  std::vector<double> scores;
  std::vector<double> losses;  // of tokens that were followed
  for (const SampleResult* result : group) {
    scores.push_back(result->score);
    const auto loss = result->metrics.find("nll");
    if (loss != result->metrics.end()) {
      losses.push_back(loss->second);
    }
  }
  if (losses.size() == scores.size() && row.task == "perplexity") {
    const Interval interval = bootstrap_interval(losses);
    row.score = std::exp(mean(losses));
    row.interval = {std::exp(interval.low), std::exp(interval.high)};
  } else {
    row.score = mean(scores);
    row.interval = score_interval(scores);
  }
}

// What a row's score averages: the loss, of which perplexity is the exponential.
double averaged(const SampleResult& result) {
  const auto loss = result.metrics.find("nll");
  return result.task == "perplexity" && loss != result.metrics.end() ? loss->second : result.score;
}

void add_difference(const Group& group, const std::map<SampleResult::Key, double>& dense,
                    EvalRow& row) {
  std::vector<double> differences;
  std::vector<double> of_dense;
  for (const SampleResult* result : group) {
    const auto found = dense.find({result->task, result->length, result->sample, "", "", 0, 0});
    if (found != dense.end()) {
      differences.push_back(averaged(*result) - found->second);
      of_dense.push_back(found->second);
    }
  }
  row.difference = mean(differences);
  row.difference_interval = bootstrap_interval(differences);
  if (row.task == "perplexity") {  // exp(a) - exp(b) = exp(b) · expm1(a - b)
    const double perplexity = std::exp(mean(of_dense));
    for (double* value :
         {&row.difference, &row.difference_interval.low, &row.difference_interval.high}) {
      *value = perplexity * std::expm1(*value);
    }
  }
}

void add_costs(const Group& group, EvalRow& row) {
  double read = 0, dense = 0, seconds = 0;
  int64_t steps = 0;
  for (const SampleResult* result : group) {
    read += result->kv_bytes_read;
    dense += result->kv_bytes_read_dense;
    seconds += result->decode_seconds;
    steps += result->decode_steps;
  }
  row.kv_read = dense > 0 ? read / dense : 1;
  row.kv_bytes_per_step = steps > 0 ? read / static_cast<double>(steps) : 0;
  row.tokens_per_s = seconds > 0 ? static_cast<double>(steps) / seconds : 0;
}

void add_means(const Group& group, EvalRow& row) {
  std::map<std::string, std::vector<double>> metrics;
  for (const SampleResult* result : group) {
    for (const auto& [name, value] : result->metrics) {
      metrics[name].push_back(value);
    }
  }
  for (const auto& [name, values] : metrics) {
    row.metrics[name] = mean(values);
  }
  row.recall = group.front()->recall;
  for (size_t layer = 0; layer < row.recall.size(); ++layer) {
    for (size_t head = 0; head < row.recall[layer].size(); ++head) {
      double sum = 0;
      for (const SampleResult* result : group) {
        sum += result->recall.at(layer).at(head);
      }
      row.recall[layer][head] = sum / static_cast<double>(group.size());
    }
  }
}

nlohmann::ordered_json number(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json();
}

// Quoted where CSV asks for it.
std::string csv_cell(const nlohmann::ordered_json& value) {
  if (value.is_null()) {
    return "";
  }
  std::string text = value.is_string() ? value.get<std::string>() : value.dump();
  if (text.find_first_of(",\"\n") == std::string::npos) {
    return text;
  }
  std::string quoted = "\"";
  for (const char c : text) {
    quoted.append(c == '"' ? 2 : 1, c);
  }
  return quoted + "\"";
}

}  // namespace

std::string EvalRow::setting() const {
  std::string name = policy;
  name += heads.empty() ? "" : " " + heads;
  name += budget == 0 ? "" : " " + std::to_string(budget);
  name += cache_correction == 0 ? "" : fmt::format(" correction {}", cache_correction);
  return name;
}

std::vector<EvalRow> summarize(const std::vector<SampleResult>& results) {
  std::map<RowKey, size_t> index;
  std::map<SampleResult::Key, double> dense;
  std::vector<EvalRow> rows;
  std::vector<Group> groups;
  for (const SampleResult& result : results) {
    const auto [entry, is_new] = index.try_emplace(row_key(result), rows.size());
    if (is_new) {
      rows.push_back({.task = result.task,
                      .length = result.length,
                      .policy = result.policy,
                      .heads = result.heads,
                      .budget = result.budget,
                      .cache_correction = result.cache_correction,
                      .interval = {},
                      .difference_interval = {},
                      .metrics = {},
                      .recall = {}});
      groups.emplace_back();
    }
    groups[entry->second].push_back(&result);
    if (result.policy == "dense") {
      dense[{result.task, result.length, result.sample, "", "", 0, 0}] = averaged(result);
    }
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].samples = std::ssize(groups[i]);
    add_score(groups[i], rows[i]);
    add_difference(groups[i], dense, rows[i]);
    add_costs(groups[i], rows[i]);
    add_means(groups[i], rows[i]);
  }
  return rows;
}

nlohmann::ordered_json to_json(const EvalRow& row) {
  nlohmann::ordered_json json;
  json["task"] = row.task;
  json["length"] = row.length;
  json["policy"] = row.policy;
  json["heads"] = nullptr;
  if (!row.heads.empty()) {
    json["heads"] = row.heads;
  }
  json["budget"] = nullptr;
  if (row.budget != 0) {
    json["budget"] = row.budget;
  }
  json["cache_correction"] = row.cache_correction;
  json["samples"] = row.samples;
  json["score"] = number(row.score);
  json["ci_low"] = number(row.interval.low);
  json["ci_high"] = number(row.interval.high);
  json["difference"] = number(row.difference);
  json["difference_low"] = number(row.difference_interval.low);
  json["difference_high"] = number(row.difference_interval.high);
  json["kv_read"] = row.kv_read;
  json["kv_bytes_per_step"] = row.kv_bytes_per_step;
  json["tokens_per_s"] = row.tokens_per_s;
  for (const auto& [name, value] : row.metrics) {
    json[name] = number(value);
  }
  if (!row.recall.empty()) {
    json["head_recall"] = nlohmann::ordered_json::array();
    for (const std::vector<double>& heads : row.recall) {
      auto& line = json["head_recall"].emplace_back(nlohmann::ordered_json::array());
      for (const double recall : heads) {
        line.push_back(recall < 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(recall));
      }
    }
  }
  return json;
}

std::string to_csv(const std::vector<EvalRow>& rows) {
  std::vector<nlohmann::ordered_json> lines;
  std::vector<std::string> columns;
  for (const EvalRow& row : rows) {
    lines.push_back(to_json(row));
    for (const auto& [name, value] : lines.back().items()) {
      if (!value.is_array() && std::find(columns.begin(), columns.end(), name) == columns.end()) {
        columns.push_back(name);
      }
    }
  }
  std::string csv;
  for (const std::string& column : columns) {
    csv.append(csv.empty() ? "" : ",").append(column);
  }
  csv += "\n";
  for (const nlohmann::ordered_json& line : lines) {
    for (const std::string& column : columns) {
      csv.append(&column == &columns.front() ? "" : ",")
          .append(csv_cell(line.value(column, nlohmann::ordered_json())));
    }
    csv += "\n";
  }
  return csv;
}

EvalTotals total(const std::vector<SampleResult>& results) {
  EvalTotals totals;
  std::set<std::tuple<std::string, int64_t, int>> prompts;
  for (const SampleResult& result : results) {
    prompts.emplace(result.task, result.length, result.sample);
    ++totals.answers;
    totals.prefills += result.prefilled_tokens > 0 ? 1 : 0;
    totals.prefilled_tokens += result.prefilled_tokens;
    totals.shared_tokens += result.prefilled_tokens == 0 ? result.prompt_tokens : 0;
    totals.prefill_seconds += result.prefill_seconds;
    totals.decode_seconds += result.decode_seconds;
    totals.seconds += result.seconds;
  }
  totals.prompts = std::ssize(prompts);
  return totals;
}

nlohmann::ordered_json to_json(const EvalTotals& totals) {
  return {{"prompts", totals.prompts},
          {"prefills", totals.prefills},
          {"answers", totals.answers},
          {"prefilled_tokens", totals.prefilled_tokens},
          {"shared_tokens", totals.shared_tokens},
          {"prefill_seconds", totals.prefill_seconds},
          {"decode_seconds", totals.decode_seconds},
          {"seconds", totals.seconds},
          {"overhead", number(totals.overhead())}};
}

}  // namespace lychee::eval
