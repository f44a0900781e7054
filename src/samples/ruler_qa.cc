#include <algorithm>
#include <set>

#include "base/check.h"
#include "samples/ruler_other.h"
#include "samples/ruler_text.h"

namespace lychee::samples {
namespace {

constexpr int64_t kGeneratedTokens = 32;

int64_t count_words(const std::string& text) {
  return Book(text).num_words();
}

// The documents that support the item, and others as far as `count` words go, the last one cut.
std::string list_documents(const QaItem& item, const std::vector<const std::string*>& others,
                           const std::vector<double>& places, int64_t count) {
  std::vector<std::pair<double, std::string>> chosen;
  for (size_t i = 0; i < item.documents.size(); ++i) {
    chosen.emplace_back(places[i], item.documents[i]);
  }
  for (size_t i = 0; i < others.size() && count > 0; ++i) {
    const Book book(*others[i]);
    const int64_t words = std::min(count, book.num_words());
    chosen.emplace_back(places[item.documents.size() + i], book.excerpt(0, words));
    count -= words;
  }
  std::sort(chosen.begin(), chosen.end());
  std::string text;
  for (size_t i = 0; i < chosen.size(); ++i) {
    text += "Document " + std::to_string(i + 1) + ": " + chosen[i].second + "\n\n";
  }
  return text;
}

}  // namespace

RulerSample make_qa(const RulerInputs& inputs, int64_t length, uint64_t seed) {
  require(inputs.qa != nullptr && !inputs.qa->items.empty(), ErrorCode::kInvalidArgument,
          "qa: no questions");
  Random random(seed);
  const QaItem& item = random.pick(inputs.qa->items);
  std::vector<const std::string*> others;
  int64_t words = 0;
  for (const std::string& document : inputs.qa->documents) {
    if (std::find(item.documents.begin(), item.documents.end(), document) == item.documents.end()) {
      others.push_back(&document);
      words += count_words(document);
    }
  }
  random.shuffle_front(others, others.size());
  std::vector<double> places(item.documents.size() + others.size());
  for (double& place : places) {
    place = random.share();
  }
  RulerSample sample = fit_ruler(inputs, "qa", length, kGeneratedTokens, words, [&](int64_t count) {
    return RulerText{
        "Answer the question from the documents. Give nothing but the answer.\n\n" +
            list_documents(item, others, places, count) +
            "Give nothing but the answer to the question.\n\nQuestion: " + item.question,
        " Answer:"};
  });
  sample.references = item.answers;
  return sample;
}

QaSet synthetic_qa(int hops, int num_items, uint64_t seed) {
  Random random(seed);
  const std::vector<std::string> words = word_list();
  std::set<std::string> used;
  const auto name = [&] {
    std::string made;
    do {
      made = random.pick(words) + random.pick(words);
      made[0] = static_cast<char>(made[0] - 'a' + 'A');
    } while (made.size() > 14 || !used.insert(made).second);
    return made;
  };
  QaSet set;
  for (int i = 0; i < num_items; ++i) {
    const std::string person = name();
    const std::string town = name();
    const std::string river = name();
    const std::string lives = person + " lives in the town of " + town + " and keeps " +
                              std::to_string(2 + random.below(90)) + " " + random.pick(words) +
                              " stamps.";
    const std::string flows = "The town of " + town + " lies on the river " + river + ", " +
                              std::to_string(2 + random.below(90)) + " miles from the sea.";
    if (hops == 1) {
      set.items.push_back({"In which town does " + person + " live?", {town}, {lives}});
    } else {
      set.items.push_back(
          {"On which river lies the town where " + person + " lives?", {river}, {lives, flows}});
    }
    set.documents.push_back(lives);
    set.documents.push_back(flows);
  }
  return set;
}

}  // namespace lychee::samples
