#include "samples/ruler_text.h"

#include <algorithm>

#include "base/check.h"
#include "samples/fit.h"

namespace lychee::samples {

RulerSample fit_ruler(const RulerInputs& inputs, std::string_view task, int64_t length,
                      int64_t generated_tokens, int64_t max_count,
                      const std::function<RulerText(int64_t count)>& build) {
  const auto make = [&](int64_t count) {
    const RulerText text = build(std::min(count, max_count));
    RulerSample sample;
    sample.prompt = inputs.wrap(text.user, text.answer_prefix);
    sample.token_ids = inputs.encode(sample.prompt);
    return sample;
  };
  const auto tokens = [&](int64_t count) {
    // Beyond the last unit nothing grows: count it as too long.
    return count > max_count ? length + count
                             : std::ssize(make(count).token_ids) + generated_tokens;
  };
  return make(largest_that_fits(tokens, length, task));
}

std::string join(const std::vector<std::string>& items) {
  std::string text;
  for (size_t i = 0; i < items.size(); ++i) {
    text.append(i == 0 ? "" : i + 1 == items.size() ? " and " : ", ").append(items[i]);
  }
  return text;
}

std::vector<std::string> draw_words(Random& random, size_t count) {
  std::vector<std::string> words = word_list();
  random.shuffle_front(words, count);
  words.resize(std::min(count, words.size()));
  return words;
}

std::string draw_letters(Random& random, size_t count, char first) {
  std::string letters;
  for (size_t i = 0; i < count; ++i) {
    letters += static_cast<char>(first + static_cast<char>(random.below(26)));
  }
  return letters;
}

}  // namespace lychee::samples
