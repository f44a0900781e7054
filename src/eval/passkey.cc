#include "eval/passkey.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "base/check.h"
#include "eval/random.h"

namespace lychee::eval {
namespace {

constexpr std::string_view kTask =
    "There is an important info hidden inside a lot of irrelevant text. Find it and memorize it. "
    "I will quiz you about the important information there.\n";
constexpr std::array<std::string_view, 5> kFiller{"The grass is green. ", "The sky is blue. ",
                                                  "The sun is yellow. ", "Here we go. ",
                                                  "There and back again. "};
constexpr std::string_view kQuestion = "\nWhat is the pass key? The pass key is";

std::string build_prompt(int64_t sentences, double depth, const std::string& key) {
  std::string prompt(kTask);
  const auto before = std::llround(depth * static_cast<double>(sentences));
  for (int64_t i = 0; i <= sentences; ++i) {
    if (i == before) {
      prompt += "The pass key is " + key + ". Remember it. " + key + " is the pass key. ";
    }
    if (i < sentences) {
      prompt += kFiller[static_cast<size_t>(i) % kFiller.size()];
    }
  }
  prompt.pop_back();
  return prompt.append(kQuestion);
}

int64_t count_tokens(const Encoder& encode, const std::string& text) {
  return std::ssize(encode(text));
}

}  // namespace

Sample make_passkey(const Encoder& encode, int64_t length, double depth, uint64_t seed) {
  require(depth >= 0 && depth <= 1, ErrorCode::kInvalidArgument, "passkey: depth ", depth,
          " is outside 0…1");
  Random random(seed);
  Sample sample;
  sample.depth = depth;
  sample.answer = std::to_string(10000 + random.below(90000));
  const std::string bare = build_prompt(0, depth, sample.answer);
  const int64_t bare_tokens = count_tokens(encode, bare);
  sample.answer_tokens = count_tokens(encode, bare + " " + sample.answer) - bare_tokens;
  const int64_t room = length - bare_tokens - sample.answer_tokens;
  require(room >= 0, ErrorCode::kInvalidArgument, "passkey: ", length,
          " tokens cannot hold the question; the least is ", length - room);

  // A first guess from the mean length of a sentence, then down until it fits and up while it does.
  constexpr int64_t kProbe = 50;
  const double per_sentence =
      static_cast<double>(count_tokens(encode, build_prompt(kProbe, depth, sample.answer)) -
                          bare_tokens) /
      kProbe;
  auto sentences = static_cast<int64_t>(static_cast<double>(room) / per_sentence);
  const auto fit = [&](int64_t count) {
    sample.prompt = build_prompt(count, depth, sample.answer);
    sample.token_ids = encode(sample.prompt);
    return length - sample.answer_tokens - std::ssize(sample.token_ids);
  };
  int64_t left = fit(sentences);
  while (left < 0) {
    sentences -=
        std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(-left) / per_sentence));
    sentences = std::max<int64_t>(sentences, 0);
    left = fit(sentences);
  }
  while (left >= 0) {
    ++sentences;
    left = fit(sentences);
  }
  fit(sentences - 1);
  return sample;
}

bool passkey_is_right(std::string_view text, std::string_view key) {
  constexpr std::string_view kSpace = " \t\r\n";
  for (const char digit : key) {
    text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
    if (text.empty() || text.front() != digit) {
      return false;
    }
    text.remove_prefix(1);
  }
  return text.empty() || text.front() < '0' || text.front() > '9';
}

}  // namespace lychee::eval
