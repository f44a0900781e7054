#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <vector>

#include "eval/task.h"

namespace lychee::eval {

// One sample answered under one setting.
struct SampleResult {
  std::string task;
  int64_t length = 0;
  int sample = 0;
  double depth = 0;
  std::string policy;
  std::string heads;         // name of the head plan; empty: none
  int64_t budget = 0;        // 0: the policy has none
  int cache_correction = 0;  // its period; 0: off
  int64_t prompt_tokens = 0;
  // Context tokens that were prefilled for this line; 0 where it shares the cache of another.
  int64_t prefilled_tokens = 0;
  double prefill_seconds = 0;  // of the prompt and its questions, on the line that prefilled them
  double seconds = 0;          // of all that was done for the prompt, on the same line
  std::vector<std::vector<std::string>> references;  // of each question
  std::vector<std::string> texts;                    // what the model said to each
  double score = 0;
  Metrics metrics;
  // Mean mass that a sparse head's set covers, [layers][kv_heads]; -1: not sparse. Or empty.
  std::vector<std::vector<double>> recall;
  double kv_bytes_read = 0;
  double kv_bytes_read_dense = 0;
  int64_t decode_steps = 0;
  double decode_seconds = 0;

  using Key = std::tuple<std::string, int64_t, int, std::string, std::string, int64_t, int>;
  [[nodiscard]] Key key() const {
    return {task, length, sample, policy, heads, budget, cache_correction};
  }
};

[[nodiscard]] nlohmann::ordered_json to_json(const SampleResult& result);
// Throws Error(kInvalidArgument) for a line that to_json did not write.
[[nodiscard]] SampleResult parse_result(const std::string& line);

}  // namespace lychee::eval
