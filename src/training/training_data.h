#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "samples/book.h"
#include "samples/sample.h"

namespace lychee::training {

enum class DataTask : uint8_t {
  kPasskey,  // phrases hidden in a book, all asked (samples/phrase.h)
  kNeedle,   // a 7-digit number hidden in a book, or in filler when there is no book
  kText,     // a book goes on
  kQa,       // questions with answers from a file
};

// One question of a `qa` file about a context of its own.
struct QaItem {
  std::string context;
  std::string question;
  std::string answer;
};

struct DataOptions {
  std::vector<std::pair<DataTask, double>> mixture;  // weights > 0, of any sum
  int64_t context_min = 1024;                        // tokens
  int64_t context_max = 4096;
  int64_t text_rows = 256;  // target rows of kText
  int phrases = 10;
  int phrase_words = 32;
  uint64_t seed = 0;
};

// `passkey:0.5,needle:0.3,text:0.2`; a weight left out is 1. Throws Error(kInvalidArgument).
[[nodiscard]] std::vector<std::pair<DataTask, double>> parse_mixture(const std::string& text);
[[nodiscard]] std::string mixture_text(const std::vector<std::pair<DataTask, double>>& mixture);

// What one step learns from.
struct TrainingSample {
  DataTask task = DataTask::kText;
  std::vector<int32_t> context;
  std::vector<int32_t> target;   // fed row by row after the context
  std::vector<uint8_t> answers;  // [target.size()]: the next token is part of an answer
};

// An endless, numbered stream of samples.
class TrainingData {
 public:
  // Throws Error(kInvalidArgument) when a task of the mixture lacks its texts or items, or they
  // are too short for the contexts.
  TrainingData(DataOptions options, samples::Encoder encode, std::vector<samples::Book> books,
               std::vector<QaItem> qa);

  // The same sample for the same index and options.
  [[nodiscard]] TrainingSample make(int64_t index) const;
  // One of a given kind.
  [[nodiscard]] TrainingSample make(DataTask task, int64_t index) const;
  [[nodiscard]] const std::vector<std::pair<DataTask, double>>& mixture() const {
    return options_.mixture;
  }
  // Rows that no target exceeds, found by trying: samples vary with their numbers and words.
  [[nodiscard]] int64_t max_target() const { return max_target_; }
  [[nodiscard]] int64_t max_context() const { return options_.context_max; }

 private:
  [[nodiscard]] TrainingSample make_task(DataTask task, int64_t length, uint64_t seed) const;
  [[nodiscard]] TrainingSample make_text(int64_t length, uint64_t seed) const;
  [[nodiscard]] TrainingSample make_qa(uint64_t seed) const;
  [[nodiscard]] TrainingSample from_sample(DataTask task, const samples::Sample& sample) const;
  void check_texts() const;
  // Rows of a sample whose context is as short as they get.
  [[nodiscard]] int64_t shortest_target(DataTask task, int64_t index) const;
  void keep_fitting_qa();

  DataOptions options_;
  samples::Encoder encode_;
  std::vector<samples::Book> books_;
  std::vector<QaItem> qa_;
  int64_t max_target_ = 0;
};

}  // namespace lychee::training
