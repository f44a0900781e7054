#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace lychee::samples {

// Text to token ids by the model's own tokenizer, its leading tokens included.
using Encoder = std::function<std::vector<int32_t>(std::string_view)>;

// One question about a context. Its text continues the context, and its answer continues it.
struct Question {
  std::string text;
  std::string answer;
  double depth = 0;                      // where in the context the answer stands, 0 … 1
  std::vector<int32_t> token_ids = {};   // of the text
  std::vector<int32_t> answer_ids = {};  // of the answer, a space before it included
};

// A context with the questions asked about it. Each question is meant to follow the context
// directly; for training, questions and answers may also follow each other.
struct Sample {
  std::string context;
  std::vector<int32_t> context_ids;
  std::vector<Question> questions;

  // Tokens of the context and the longest question with its answer.
  [[nodiscard]] int64_t num_tokens() const;
};

// Fills in all token ids. Ids of the context and a question, one after the other, are those of
// their joined text: what lies on a seam belongs to the question.
void encode_sample(const Encoder& encode, Sample& sample);

}  // namespace lychee::samples
