#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "samples/ruler_other.h"
#include "samples/ruler_text.h"

namespace lychee::samples {
namespace {

constexpr int64_t kCommonTokens = 120;
constexpr int64_t kFrequentTokens = 50;
constexpr size_t kCommonWords = 10;
constexpr int64_t kShort = 4096;  // below it the published lists are too long

// A numbered list of `items` in an order that `seed` gives.
std::string numbered(std::vector<std::string> items, uint64_t seed) {
  Random random(seed);
  random.shuffle_front(items, items.size());
  std::string list;
  for (size_t i = 0; i < items.size(); ++i) {
    list.append(list.empty() ? "" : " ")
        .append(std::to_string(i + 1))
        .append(". ")
        .append(items[i]);
  }
  return list;
}

// Words, the first ten of them `often` times and the others `seldom` times, `total` in all. Past
// the list, a word is two of it.
std::vector<std::string> repeat_words(const std::vector<std::string>& words, int64_t often,
                                      int64_t seldom, int64_t total) {
  std::vector<std::string> items;
  const auto size = std::ssize(words);
  for (int64_t i = 0; std::ssize(items) < total; ++i) {
    const int64_t times = i < static_cast<int64_t>(kCommonWords) ? often : seldom;
    std::string word = words[static_cast<size_t>(i % size)];
    if (i >= size) {
      word += "-" + words[static_cast<size_t>((i / size * 7 + i) % size)];
    }
    for (int64_t n = 0; n < times && std::ssize(items) < total; ++n) {
      items.push_back(word);
    }
  }
  return items;
}

constexpr std::string_view kCommonAnswer = " The ten words that come most often in the list are:";

std::string ask_common(const std::string& list) {
  return "The following is a numbered list of words. Some of them come more often than the "
         "others: memorize these.\n" +
         list + "\nWhich ten words come most often in the list?";
}

}  // namespace

RulerSample make_common_words(const RulerInputs& inputs, int64_t length, uint64_t seed) {
  Random random(seed);
  const bool is_short = length < kShort;
  const int64_t often = is_short ? 6 : 30;
  const int64_t seldom = is_short ? 1 : 3;
  const std::vector<std::string> shown = draw_words(random, is_short ? 20 : 40);
  // The example's words are not asked again.
  std::vector<std::string> words;
  for (std::string& word : draw_words(random, word_list().size())) {
    if (std::find(shown.begin(), shown.end(), word) == shown.end()) {
      words.push_back(std::move(word));
    }
  }
  const int64_t shown_often = is_short ? 3 : 10;
  const int64_t shown_total = (std::ssize(shown) - 10) * seldom + 10 * shown_often;
  const std::string example =
      ask_common(numbered(repeat_words(shown, shown_often, seldom, shown_total), random.next())) +
      std::string(kCommonAnswer) + " " + join({shown.begin(), shown.begin() + kCommonWords}) +
      "\n\n";
  const uint64_t order = random.next();
  const int64_t least = often * static_cast<int64_t>(kCommonWords);
  RulerSample sample = fit_ruler(
      inputs, "cwe", length, kCommonTokens, std::numeric_limits<int32_t>::max(),
      [&](int64_t count) {
        return RulerText{example + ask_common(numbered(
                                       repeat_words(words, often, seldom, least + count), order)),
                         std::string(kCommonAnswer)};
      });
  sample.references.assign(words.begin(), words.begin() + kCommonWords);
  return sample;
}

RulerSample make_frequent_words(const RulerInputs& inputs, int64_t length, uint64_t seed) {
  Random random(seed);
  const auto vocabulary = static_cast<size_t>(std::max<int64_t>(length / 50, 10));
  std::vector<std::string> words{"..."};
  while (words.size() < vocabulary) {
    std::string word = draw_letters(random, 6, 'a');
    if (std::find(words.begin(), words.end(), word) == words.end()) {
      words.push_back(std::move(word));
    }
  }
  const uint64_t order = random.next();
  constexpr double kZetaOfTwo = std::numbers::pi * std::numbers::pi / 6;
  const auto build = [&](int64_t count) {
    // Ranks 1 to 4 have different counts from 48 words on.
    const auto total = static_cast<double>(48 + count);
    std::vector<std::string> items;
    for (size_t rank = 0; rank < words.size(); ++rank) {
      const auto place = static_cast<double>(rank + 1);
      const auto times = static_cast<size_t>(total / (place * place * kZetaOfTwo));
      items.insert(items.end(), times, words[rank]);
    }
    Random shuffle(order);
    shuffle.shuffle_front(items, items.size());
    std::string text;
    for (const std::string& item : items) {
      text.append(text.empty() ? "" : " ").append(item);
    }
    return RulerText{
        "The following is a coded text. Keep count of its words; dots (...) are no words.\n" +
            text + "\nWhich three words come most often in the coded text? Name nothing but them.",
        " The three words that come most often in the coded text are:"};
  };
  RulerSample sample =
      fit_ruler(inputs, "fwe", length, kFrequentTokens, std::numeric_limits<int32_t>::max(), build);
  sample.references.assign(words.begin() + 1, words.begin() + 4);
  return sample;
}

}  // namespace lychee::samples
