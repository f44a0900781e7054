#include "samples/ruler_niah.h"

#include <algorithm>
#include <limits>
#include <set>

#include "samples/haystack.h"
#include "samples/ruler_text.h"

namespace lychee::samples {
namespace {

enum class HaystackKind { kFiller, kBook, kNeedles };

struct Niah {
  HaystackKind haystack = HaystackKind::kBook;
  bool uuid_keys = false;
  bool uuid_values = false;
  int keys = 1;
  int values = 1;   // of a key
  int queries = 1;  // keys that are asked
};

constexpr int64_t kGeneratedTokens = 128;

std::string draw_uuid(Random& random) {
  std::string uuid;
  for (const int size : {8, 4, 4, 4, 12}) {
    uuid.append(uuid.empty() ? "" : "-");
    for (int i = 0; i < size; ++i) {
      uuid += "0123456789abcdef"[random.below(16)];
    }
  }
  return uuid;
}

std::string draw_value(Random& random, bool uuid) {
  return uuid ? draw_uuid(random) : std::to_string(1000000 + random.below(9000000));
}

std::string draw_key(Random& random, const std::vector<std::string>& words, bool uuid) {
  if (uuid) {
    return draw_uuid(random);
  }
  const std::string first = random.pick(words);
  return first + "-" + random.pick(words);
}

std::string kind_of(const Niah& niah, bool plural) {
  return std::string(niah.uuid_values ? "uuid" : "number") + (plural ? "s" : "");
}

std::string state(const Niah& niah, const std::string& key, const std::string& value) {
  return "The special magic " + kind_of(niah, false) + " for " + key + " is " + value + ".";
}

struct Needles {
  std::vector<Insertion> insertions;
  std::vector<std::string> asked;
  std::vector<std::string> references;
  std::set<std::string> keys;
};

Needles draw_needles(const Niah& niah, const std::vector<std::string>& words, Random& random) {
  Needles needles;
  while (std::ssize(needles.keys) < niah.keys) {
    const std::string key = draw_key(random, words, niah.uuid_keys);
    if (!needles.keys.insert(key).second) {
      continue;
    }
    const bool is_asked = std::ssize(needles.asked) < niah.queries;
    for (int i = 0; i < niah.values; ++i) {
      const std::string value = draw_value(random, niah.uuid_values);
      needles.insertions.push_back({random.share(), state(niah, key, value)});
      if (is_asked) {
        needles.references.push_back(value);
      }
    }
    if (is_asked) {
      needles.asked.push_back(key);
    }
  }
  return needles;
}

// Needles of other keys as haystack; a sentence of filler is a unit, a needle as many as it is
// long.
class NeedleStack {
 public:
  NeedleStack(const Niah& niah, const std::vector<std::string>& words, Needles needles,
              uint64_t seed)
      : niah_(niah), words_(words), needles_(std::move(needles)), seed_(seed) {}

  std::string build(int64_t count) {
    const int64_t units = niah_.uuid_keys ? 12 : 4;
    std::vector<Insertion> all = needles_.insertions;
    for (int64_t i = 0; i < count / units; ++i) {
      all.push_back(other(i));
    }
    // Of filler there is at most a needle's worth, in the beginning.
    std::string text = Haystack().build(count % units, {});
    std::stable_sort(all.begin(), all.end(),
                     [](const Insertion& a, const Insertion& b) { return a.depth < b.depth; });
    for (const Insertion& insertion : all) {
      text.append(text.empty() ? "" : " ").append(insertion.text);
    }
    return text;
  }

 private:
  // The same for every count; drawn once.
  const Insertion& other(int64_t index) {
    while (std::ssize(others_) <= index) {
      Random random(seed_ + others_.size());
      std::string key;
      do {
        key = draw_key(random, words_, niah_.uuid_keys);
      } while (!needles_.keys.insert(key).second);
      const double depth = random.share();
      others_.push_back({depth, state(niah_, key, draw_value(random, niah_.uuid_values))});
    }
    return others_[static_cast<size_t>(index)];
  }

  const Niah& niah_;
  const std::vector<std::string>& words_;
  Needles needles_;
  uint64_t seed_;
  std::vector<Insertion> others_;
};

RulerSample make_niah(std::string_view task, const Niah& niah, const RulerInputs& inputs,
                      int64_t length, uint64_t seed) {
  Random random(seed);
  const std::vector<std::string> words = word_list();
  const Needles needles = draw_needles(niah, words, random);
  const bool plural = needles.references.size() > 1;
  const std::string kind = kind_of(niah, plural);
  const Haystack haystack = niah.haystack == HaystackKind::kBook
                                ? Haystack(*inputs.book, random.index(inputs.book->num_words()))
                                : Haystack();
  NeedleStack stack(niah, words, needles, random.next());
  RulerSample sample =
      fit_ruler(inputs, task, length, kGeneratedTokens, std::numeric_limits<int32_t>::max(),
                [&](int64_t count) {
                  const std::string text = niah.haystack == HaystackKind::kNeedles
                                               ? stack.build(count)
                                               : haystack.build(count, needles.insertions);
                  const std::string asked = "special magic " + kind + " for " + join(needles.asked);
                  return RulerText{"The following text has special magic " + kind_of(niah, true) +
                                       " in it. Memorize them: you will be asked about them.\n" +
                                       text + "\nWhat " + (plural ? "are all the " : "is the ") +
                                       asked + " in the text?",
                                   " The " + asked + (plural ? " in the text are" : " is")};
                });
  sample.references = needles.references;
  sample.depth = needles.insertions.front().depth;
  return sample;
}

}  // namespace

RulerSample make_niah_single_1(const RulerInputs& inputs, int64_t length, uint64_t seed) {
  return make_niah("niah_single_1", {.haystack = HaystackKind::kFiller}, inputs, length, seed);
}

RulerSample make_niah_single_2(const RulerInputs& inputs, int64_t length, uint64_t seed) {
  return make_niah("niah_single_2", {}, inputs, length, seed);
}

RulerSample make_niah_single_3(const RulerInputs& inputs, int64_t length, uint64_t seed) {
  return make_niah("niah_single_3", {.uuid_values = true}, inputs, length, seed);
}

RulerSample make_niah_multikey_1(const RulerInputs& inputs, int64_t length, uint64_t seed) {
  return make_niah("niah_multikey_1", {.keys = 4}, inputs, length, seed);
}

RulerSample make_niah_multikey_2(const RulerInputs& inputs, int64_t length, uint64_t seed) {
  return make_niah("niah_multikey_2", {.haystack = HaystackKind::kNeedles}, inputs, length, seed);
}

RulerSample make_niah_multikey_3(const RulerInputs& inputs, int64_t length, uint64_t seed) {
  return make_niah("niah_multikey_3",
                   {.haystack = HaystackKind::kNeedles, .uuid_keys = true, .uuid_values = true},
                   inputs, length, seed);
}

RulerSample make_niah_multivalue(const RulerInputs& inputs, int64_t length, uint64_t seed) {
  return make_niah("niah_multivalue", {.values = 4}, inputs, length, seed);
}

RulerSample make_niah_multiquery(const RulerInputs& inputs, int64_t length, uint64_t seed) {
  return make_niah("niah_multiquery", {.keys = 4, .queries = 4}, inputs, length, seed);
}

}  // namespace lychee::samples
