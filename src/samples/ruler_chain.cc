#include <algorithm>
#include <limits>

#include "samples/haystack.h"
#include "samples/ruler_other.h"
#include "samples/ruler_text.h"

namespace lychee::samples {
namespace {

constexpr int64_t kGeneratedTokens = 30;
constexpr int kVariables = 5;  // a chain of four hops

struct Chain {
  std::string value;
  std::vector<std::string> variables;
  std::vector<Insertion> statements;
};

Chain draw_chain(Random& random, size_t letters) {
  Chain chain;
  chain.value = std::to_string(10000 + random.below(90000));
  std::vector<double> depths;
  while (std::ssize(chain.variables) < kVariables) {
    std::string name = draw_letters(random, letters, 'A');
    if (std::find(chain.variables.begin(), chain.variables.end(), name) == chain.variables.end()) {
      chain.variables.push_back(std::move(name));
      depths.push_back(random.share());
    }
  }
  std::sort(depths.begin(), depths.end());
  for (size_t i = 0; i < chain.variables.size(); ++i) {
    chain.statements.push_back(
        {depths[i], "VAR " + chain.variables[i] + " = " +
                        (i == 0 ? chain.value : "VAR " + chain.variables[i - 1]) + "."});
  }
  return chain;
}

RulerText ask(const Chain& chain, int64_t count) {
  return {
      "The following text has assignments of variables in it. Memorize them and follow their "
      "chain.\n" +
          Haystack().build(count, chain.statements) + "\nWhich variables have the value " +
          chain.value + "?",
      " Following the assignments, " + std::to_string(kVariables) + " variables have the value " +
          chain.value + ":"};
}

}  // namespace

RulerSample make_variable_tracking(const RulerInputs& inputs, int64_t length, uint64_t seed) {
  Random random(seed);
  const Chain shown = draw_chain(random, 3);
  const Chain asked = draw_chain(random, 5);
  const RulerText example = ask(shown, 5);
  const std::string before =
      example.user + example.answer_prefix + " " + join(shown.variables) + "\n\n";
  RulerSample sample = fit_ruler(inputs, "vt", length, kGeneratedTokens,
                                 std::numeric_limits<int32_t>::max(), [&](int64_t count) {
                                   RulerText text = ask(asked, count);
                                   text.user.insert(0, before);
                                   return text;
                                 });
  sample.references = asked.variables;
  sample.depth = asked.statements.front().depth;
  return sample;
}

}  // namespace lychee::samples
