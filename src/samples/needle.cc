#include "samples/needle.h"

#include <string>

#include "base/check.h"
#include "samples/fit.h"
#include "samples/haystack.h"
#include "samples/random.h"

namespace lychee::samples {
namespace {

constexpr std::string_view kTask =
    "A special magic number is hidden in the following text. Memorize it: you will be asked for "
    "it.\n";

}  // namespace

Sample make_needle(const Encoder& encode, const Book* book, int64_t length, double depth,
                   uint64_t seed) {
  require(depth >= 0 && depth <= 1, ErrorCode::kInvalidArgument, "needle: depth ", depth,
          " is outside 0…1");
  Random random(seed);
  const std::vector<std::string> words = word_list();
  const std::string number = std::to_string(1000000 + random.below(9000000));
  const std::string key = random.pick(words) + "-" + random.pick(words);
  const std::string statement = "The special magic number for " + key + " is";
  const Haystack haystack =
      book == nullptr ? Haystack() : Haystack(*book, random.index(book->num_words()));
  const auto build = [&](int64_t count) {
    Sample sample;
    sample.context =
        std::string(kTask) + haystack.build(count, {{depth, statement + " " + number + "."}});
    sample.questions.push_back(
        {.text = "\nWhat is the special magic number for " + key + " in the text? " + statement,
         .answer = number,
         .depth = depth});
    encode_sample(encode, sample);
    return sample;
  };
  return build(largest_that_fits([&](int64_t count) { return build(count).num_tokens(); }, length,
                                 "needle"));
}

}  // namespace lychee::samples
