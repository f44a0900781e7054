#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <vector>

namespace lychee::eval {

// One sample answered under one setting.
struct SampleResult {
  std::string task;
  int64_t length = 0;
  int sample = 0;
  double depth = 0;
  std::string policy;
  std::string heads;   // name of the head plan; empty: none
  int64_t budget = 0;  // 0: the policy has none
  int64_t prompt_tokens = 0;
  std::string answer;
  std::string text;  // what the model said
  bool right = false;
  double kv_bytes_read = 0;
  double kv_bytes_read_dense = 0;
  int64_t decode_steps = 0;
  double decode_seconds = 0;

  using Key = std::tuple<std::string, int64_t, int, std::string, std::string, int64_t>;
  [[nodiscard]] Key key() const { return {task, length, sample, policy, heads, budget}; }
};

[[nodiscard]] nlohmann::ordered_json to_json(const SampleResult& result);
// Throws Error(kInvalidArgument) for a line that to_json did not write.
[[nodiscard]] SampleResult parse_result(const std::string& line);

// A line of the table: all samples of one task, length and setting.
struct EvalRow {
  std::string task;
  int64_t length = 0;
  std::string policy;
  std::string heads;
  int64_t budget = 0;
  int64_t samples = 0;
  double score = 0;  // share of samples that are right
  double ci_low = 0;
  double ci_high = 1;
  double kv_read = 1;
  double tokens_per_s = 0;  // of decode steps; 0 when there were none
};

// Rows in the order in which their first samples come.
[[nodiscard]] std::vector<EvalRow> summarize(const std::vector<SampleResult>& results);
// The fields of interfaces.md, section 2; `heads` and `budget` are null where there is none.
[[nodiscard]] nlohmann::ordered_json to_json(const EvalRow& row);

// The folder of `--out`: options.json, written first, results.jsonl, a flushed line a sample, and
// report.html.
class ResultFolder {
 public:
  // Creates the folder. Without `resume` it must hold no results yet; with it, the options on disk
  // must be these, and the results there are kept: a last line cut off by a crash is dropped.
  // Throws Error(kInvalidArgument) for a folder of other options, Error(kIo) for one that cannot
  // be written.
  ResultFolder(const std::filesystem::path& folder, const nlohmann::ordered_json& options,
               bool resume);

  [[nodiscard]] const std::vector<SampleResult>& kept() const { return kept_; }
  void append(const SampleResult& result);
  void write_report(const std::string& html) const;

 private:
  void keep_results();

  std::filesystem::path path_;
  std::vector<SampleResult> kept_;
  std::ofstream stream_;
};

}  // namespace lychee::eval
