#include "eval/results.h"

#include <algorithm>
#include <map>

#include "base/check.h"
#include "eval/interval.h"

namespace lychee::eval {

nlohmann::ordered_json to_json(const SampleResult& result) {
  return {{"task", result.task},
          {"length", result.length},
          {"sample", result.sample},
          {"depth", result.depth},
          {"policy", result.policy},
          {"heads", result.heads},
          {"budget", result.budget},
          {"prompt_tokens", result.prompt_tokens},
          {"answer", result.answer},
          {"text", result.text},
          {"right", result.right},
          {"kv_bytes_read", result.kv_bytes_read},
          {"kv_bytes_read_dense", result.kv_bytes_read_dense},
          {"decode_steps", result.decode_steps},
          {"decode_seconds", result.decode_seconds}};
}

SampleResult parse_result(const std::string& line) {
  SampleResult result;
  try {
    const auto json = nlohmann::json::parse(line);
    json.at("task").get_to(result.task);
    json.at("length").get_to(result.length);
    json.at("sample").get_to(result.sample);
    json.at("depth").get_to(result.depth);
    json.at("policy").get_to(result.policy);
    json.at("heads").get_to(result.heads);
    json.at("budget").get_to(result.budget);
    json.at("prompt_tokens").get_to(result.prompt_tokens);
    json.at("answer").get_to(result.answer);
    json.at("text").get_to(result.text);
    json.at("right").get_to(result.right);
    json.at("kv_bytes_read").get_to(result.kv_bytes_read);
    json.at("kv_bytes_read_dense").get_to(result.kv_bytes_read_dense);
    json.at("decode_steps").get_to(result.decode_steps);
    json.at("decode_seconds").get_to(result.decode_seconds);
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorCode::kInvalidArgument, "not a line of results: ", error.what());
  }
  return result;
}

std::vector<EvalRow> summarize(const std::vector<SampleResult>& results) {
  struct Sums {
    int64_t right = 0;
    double read = 0, dense = 0, seconds = 0;
    int64_t steps = 0;
  };
  using RowKey = std::tuple<std::string, int64_t, std::string, std::string, int64_t>;
  std::map<RowKey, size_t> index;
  std::vector<EvalRow> rows;
  std::vector<Sums> sums;
  for (const SampleResult& result : results) {
    const RowKey key{result.task, result.length, result.policy, result.heads, result.budget};
    const auto [entry, is_new] = index.try_emplace(key, rows.size());
    if (is_new) {
      rows.push_back({.task = result.task,
                      .length = result.length,
                      .policy = result.policy,
                      .heads = result.heads,
                      .budget = result.budget});
      sums.emplace_back();
    }
    ++rows[entry->second].samples;
    Sums& sum = sums[entry->second];
    sum.right += result.right ? 1 : 0;
    sum.read += result.kv_bytes_read;
    sum.dense += result.kv_bytes_read_dense;
    sum.seconds += result.decode_seconds;
    sum.steps += result.decode_steps;
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    const Interval interval = wilson_interval(sums[i].right, rows[i].samples);
    rows[i].score = static_cast<double>(sums[i].right) / static_cast<double>(rows[i].samples);
    rows[i].ci_low = interval.low;
    rows[i].ci_high = interval.high;
    rows[i].kv_read = sums[i].dense > 0 ? sums[i].read / sums[i].dense : 1;
    rows[i].tokens_per_s =
        sums[i].seconds > 0 ? static_cast<double>(sums[i].steps) / sums[i].seconds : 0;
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
  json["samples"] = row.samples;
  json["score"] = row.score;
  json["ci_low"] = row.ci_low;
  json["ci_high"] = row.ci_high;
  json["kv_read"] = row.kv_read;
  json["tokens_per_s"] = row.tokens_per_s;
  return json;
}

}  // namespace lychee::eval
