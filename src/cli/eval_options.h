#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/common_options.h"
#include "cli/eval_settings.h"
#include "text/word_segmenter.h"

namespace lychee::cli {

struct EvalCommandOptions {
  CommonOptions common;
  ModelOptions model;
  DecodingOptions decoding;
  EvalLists lists;
  std::vector<std::string> tasks;
  std::vector<int64_t> lengths = {1024, 8192};
  int samples = 10;
  std::vector<std::string> text_files;
  std::vector<std::string> data;
  std::string squad;
  std::string hotpotqa;
  std::string words = text::default_word_folder();
  bool skip_bad = false;
  bool raw = false;
  bool together = false;
  int64_t decode_tokens = 128;
  int attempts = 1;
  int phrases = 10;
  int phrase_words = 32;
  double temperature = 0;
  double top_p = 1;
  std::string out;
  bool resume = false;
};

void add_eval_options(CLI::App& command, EvalCommandOptions& options);

// What options.json says besides the settings: every flag that the results depend on, and the
// SHA-256 of every file that they are made of.
[[nodiscard]] nlohmann::ordered_json describe_tasks(const EvalCommandOptions& options);

}  // namespace lychee::cli
