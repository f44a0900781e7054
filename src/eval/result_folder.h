#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "eval/results.h"

namespace lychee::eval {

// The folder of `--out`: options.json, written first, results.jsonl, a flushed line a sample, and
// the files made of them at the end.
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
  // Writes a file of the folder anew; a reader never sees half of it.
  void write(const std::string& name, const std::string& text) const;

 private:
  void keep_results();

  std::filesystem::path path_;
  std::vector<SampleResult> kept_;
  std::ofstream stream_;
};

}  // namespace lychee::eval
