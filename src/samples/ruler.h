#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "samples/book.h"
#include "samples/sample.h"

namespace lychee::samples {

// A question with the passages that support it, from a file or made up.
struct QaItem {
  std::string question;
  std::vector<std::string> answers;
  std::vector<std::string> documents;  // that the answer is in
};
// Questions, and all documents that may stand beside theirs.
struct QaSet {
  std::vector<QaItem> items;
  std::vector<std::string> documents;
};
// One-sentence facts about people who do not exist. With `hops` 2 a question needs two of them.
[[nodiscard]] QaSet synthetic_qa(int hops, int num_items, uint64_t seed);

struct RulerInputs {
  Encoder encode;
  // The message as the model wants it, with the beginning of the answer after it.
  std::function<std::string(std::string_view user, std::string_view answer_prefix)> wrap;
  const Book* book = nullptr;  // essays; never null
  const QaSet* qa = nullptr;   // for the qa tasks
};

// A prompt of one task and what its answer must hold.
struct RulerSample {
  std::string prompt;
  std::vector<int32_t> token_ids;
  std::vector<std::string> references;
  double depth = 0;  // of the first statement that matters; 0 where there is none
};

// One of RULER's 13 tasks: haystack, needles and the tokens that are generated are as published,
// the sentences, word lists and essays our own.
struct RulerTask {
  std::string_view name;
  int64_t generated_tokens;
  bool any_reference;  // one reference is enough; else all count
  int hops;            // of the questions of qa tasks; 0: no such task
  RulerSample (*make)(const RulerInputs& inputs, int64_t length, uint64_t seed);
};
[[nodiscard]] const std::vector<RulerTask>& ruler_tasks();

}  // namespace lychee::samples
