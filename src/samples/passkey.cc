#include "samples/passkey.h"

#include <string>

#include "base/check.h"
#include "samples/fit.h"
#include "samples/haystack.h"
#include "samples/random.h"

namespace lychee::samples {
namespace {

constexpr std::string_view kTask =
    "There is an important info hidden inside a lot of irrelevant text. Find it and memorize it. "
    "I will quiz you about the important information there.\n";
constexpr std::string_view kQuestion = "\nWhat is the pass key? The pass key is";

}  // namespace

Sample make_passkey(const Encoder& encode, int64_t length, double depth, uint64_t seed) {
  require(depth >= 0 && depth <= 1, ErrorCode::kInvalidArgument, "passkey: depth ", depth,
          " is outside 0…1");
  Random random(seed);
  const std::string key = std::to_string(10000 + random.below(90000));
  const std::string statement =
      "The pass key is " + key + ". Remember it. " + key + " is the pass key.";
  const auto build = [&](int64_t sentences) {
    Sample sample;
    sample.context = std::string(kTask) + Haystack().build(sentences, {{depth, statement}});
    sample.questions.push_back({.text = std::string(kQuestion), .answer = key, .depth = depth});
    encode_sample(encode, sample);
    return sample;
  };
  return build(largest_that_fits([&](int64_t count) { return build(count).num_tokens(); }, length,
                                 "passkey"));
}

}  // namespace lychee::samples
