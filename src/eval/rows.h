#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "eval/interval.h"
#include "eval/results.h"

namespace lychee::eval {

// A line of the table: all samples of one task, length and setting.
struct EvalRow {
  std::string task;
  int64_t length = 0;
  std::string policy;
  std::string heads;
  int64_t budget = 0;
  int cache_correction = 0;
  int64_t samples = 0;
  double score = 0;  // mean of the samples, 0 … 1; of perplexity: over all tokens
  Interval interval;
  // Mean of the samples' differences to dense decoding of the same prompts, with its bootstrap
  // interval; NaN where there is no dense row. Of perplexity: of both perplexities, the interval
  // with dense's held fixed.
  double difference = 0;
  Interval difference_interval;
  double kv_read = 1;
  double kv_bytes_per_step = 0;
  double tokens_per_s = 0;  // of decode steps; 0 when there were none
  Metrics metrics;          // means
  std::vector<std::vector<double>> recall;

  // Policy, plan, budget and correction, for people.
  [[nodiscard]] std::string setting() const;
};

// Rows in the order in which their first samples come.
[[nodiscard]] std::vector<EvalRow> summarize(const std::vector<SampleResult>& results);
// The fields of interfaces.md, section 2, and more; null where there is no value.
[[nodiscard]] nlohmann::ordered_json to_json(const EvalRow& row);
// A header and a line for each row; metrics are columns.
[[nodiscard]] std::string to_csv(const std::vector<EvalRow>& rows);

// What all results cost, and what sharing the prompts' caches saved.
struct EvalTotals {
  int64_t prompts = 0;
  int64_t prefills = 0;          // of prompts; more than those only where a run was cut off
  int64_t answers = 0;           // results, each under one setting
  int64_t prefilled_tokens = 0;  // of prompts
  int64_t shared_tokens = 0;     // of prompts, that would have been prefilled once more
  double prefill_seconds = 0;
  double decode_seconds = 0;
  double seconds = 0;  // of all that was done for the prompts

  // All time over that of prefill and decode steps; NaN where nothing was done.
  [[nodiscard]] double overhead() const { return seconds / (prefill_seconds + decode_seconds); }
};
[[nodiscard]] EvalTotals total(const std::vector<SampleResult>& results);
[[nodiscard]] nlohmann::ordered_json to_json(const EvalTotals& totals);

}  // namespace lychee::eval
