#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace lychee::eval {

// Text to token ids by the model's own tokenizer, its leading tokens included.
using Encoder = std::function<std::vector<int32_t>(std::string_view)>;

// One question of a task, sized for a model.
struct Sample {
  std::string prompt;
  std::vector<int32_t> token_ids;  // of the prompt
  std::string answer;
  int64_t answer_tokens = 0;  // that the model may generate; at most length - token_ids.size()
  double depth = 0;           // where the answer stands in the filler, 0 … 1
};

}  // namespace lychee::eval
