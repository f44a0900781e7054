#include "samples/phrase.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/check.h"
#include "samples/fit.h"
#include "samples/haystack.h"
#include "samples/random.h"

namespace lychee::samples {
namespace {

constexpr std::string_view kTask =
    "The following text has secret phrases between its sentences. Memorize every phrase: you will "
    "be asked for all of them.\n\n";
constexpr std::array<std::string_view, 20> kOrdinals{
    "first",     "second",    "third",       "fourth",     "fifth",      "sixth",      "seventh",
    "eighth",    "ninth",     "tenth",       "eleventh",   "twelfth",    "thirteenth", "fourteenth",
    "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth", "twentieth"};

struct Phrase {
  std::string name;  // "first secret phrase"
  std::string words;
  double depth;
};

std::vector<Phrase> draw_phrases(Random& random, const PhraseOptions& options) {
  std::vector<double> depths;
  depths.reserve(static_cast<size_t>(options.phrases));
  for (int i = 0; i < options.phrases; ++i) {
    depths.push_back(0.05 + 0.9 * random.share());
  }
  std::sort(depths.begin(), depths.end());
  std::vector<std::string> words = word_list();
  std::vector<Phrase> phrases;
  for (size_t i = 0; i < depths.size(); ++i) {
    random.shuffle_front(words, static_cast<size_t>(options.words));
    Phrase phrase;
    phrase.depth = depths[i];
    phrase.name.append(kOrdinals[i]).append(" secret phrase");
    for (int word = 0; word < options.words; ++word) {
      phrase.words.append(word == 0 ? "" : " ").append(words[static_cast<size_t>(word)]);
    }
    phrases.push_back(std::move(phrase));
  }
  return phrases;
}

}  // namespace

Sample make_phrase(const Encoder& encode, const Book& book, int64_t length, uint64_t seed,
                   const PhraseOptions& options) {
  require(options.phrases >= 1 && options.phrases <= std::ssize(kOrdinals),
          ErrorCode::kInvalidArgument, "phrase: ", options.phrases, " phrases are outside 1…",
          kOrdinals.size());
  require(options.words >= 1 && options.words <= std::ssize(word_list()),
          ErrorCode::kInvalidArgument, "phrase: ", options.words, " words are outside 1…",
          word_list().size());
  Random random(seed);
  const std::vector<Phrase> phrases = draw_phrases(random, options);
  const Haystack haystack(book, random.index(book.num_words()));
  const auto build = [&](int64_t count) {
    Sample sample;
    std::vector<Insertion> insertions;
    for (const Phrase& phrase : phrases) {
      insertions.push_back({phrase.depth, "The " + phrase.name + " is: " + phrase.words + "."});
      sample.questions.push_back(
          {.text = "\n\nWhat is the " + phrase.name + "? The " + phrase.name + " is:",
           .answer = phrase.words,
           .depth = phrase.depth});
    }
    sample.context = std::string(kTask) + haystack.build(count, insertions);
    encode_sample(encode, sample);
    return sample;
  };
  return build(largest_that_fits([&](int64_t count) { return build(count).num_tokens(); }, length,
                                 "phrase"));
}

}  // namespace lychee::samples
