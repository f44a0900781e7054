#pragma once

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/common_options.h"
#include "io/model_files.h"
#include "training/train_heads.h"

namespace lychee::cli {

// Flags of `train-heads`.
struct TrainOptions {
  CommonOptions common;
  std::string model;
  std::string out;
  std::string gate = "hardkuma";
  std::string loss = "kl";
  std::string chain = "inference";
  int64_t steps = 3000;
  double lr = 0.01;
  std::optional<int> num_retrieval;
  std::optional<std::string> init;
  int64_t refine = 0;
  int64_t refine_samples = 12;
  std::optional<double> target_density;
  int64_t context_min = 1024;
  int64_t context_max = 4096;
  int64_t context_reuse = 4;
  int64_t text_rows = 256;
  int phrases = 10;
  int phrase_words = 32;
  std::string data = "passkey:0.3,needle:0.2,text:0.5";
  std::vector<std::string> text_files;
  std::string qa_file;
  std::string select = "topk";
  std::vector<int> budgets = {256};
  int sink = 16;
  int recent = 64;
  double ratio = 0.1;
  double mass = 0.95;
  double threshold = 0;
  int64_t checkpoint_every = 50;
  std::optional<double> minutes;
  bool resume = false;
};

// All but --device and its like, which are common to the commands.
void add_train_options(CLI::App& command, TrainOptions& options);

// What they ask for, for a model of this shape. Throws Error(kInvalidArgument) for flags that
// exclude each other, or that leave no head sparse.
[[nodiscard]] training::TrainHeadsOptions train_heads_options(const TrainOptions& options,
                                                              const io::ModelConfig& config);

// The text of options.json.
[[nodiscard]] nlohmann::ordered_json describe_training(
    const TrainOptions& options, const io::ModelFiles& files,
    const training::TrainHeadsOptions& effective);

}  // namespace lychee::cli
