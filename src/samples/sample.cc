#include "samples/sample.h"

#include <algorithm>

namespace lychee::samples {

int64_t Sample::num_tokens() const {
  size_t longest = 0;
  for (const Question& question : questions) {
    longest = std::max(longest, question.token_ids.size() + question.answer_ids.size());
  }
  return static_cast<int64_t>(context_ids.size() + longest);
}

void encode_sample(const Encoder& encode, Sample& sample) {
  sample.context_ids = encode(sample.context);
  size_t shared = sample.context_ids.size();
  for (Question& question : sample.questions) {
    const std::string asked = sample.context + question.text;
    question.token_ids = encode(asked);
    const std::vector<int32_t> answered = encode(asked + " " + question.answer);
    const auto end = static_cast<int64_t>(std::min(question.token_ids.size(), answered.size()));
    question.answer_ids.assign(answered.begin() + end, answered.end());
    const auto seam = std::mismatch(sample.context_ids.begin(), sample.context_ids.end(),
                                    question.token_ids.begin(), question.token_ids.end());
    shared = std::min(shared, static_cast<size_t>(seam.first - sample.context_ids.begin()));
  }
  sample.context_ids.resize(shared);
  for (Question& question : sample.questions) {
    question.token_ids.erase(question.token_ids.begin(),
                             question.token_ids.begin() + static_cast<int64_t>(shared));
  }
}

}  // namespace lychee::samples
