// Logits move to a sequence when asked for, or when a pass of others would overwrite them.

#include <gtest/gtest.h>

#include "engine/tiny_engine.h"

namespace lychee::test {
namespace {

class PendingLogitsTest : public testing::Test {
 protected:
  Sequence prefilled(int64_t count) {
    Sequence sequence = engine_.create_sequence({});
    engine_.prefill(sequence, tokens(count));
    return sequence;
  }
  // The logits that a sequence has when nothing else runs.
  std::vector<float> alone(int64_t count) { return logits_of(prefilled(count)); }
  static std::vector<float> logits_of(const Sequence& sequence) {
    return {sequence.logits().begin(), sequence.logits().end()};
  }

  TinyEngine tiny_;
  Engine engine_ = tiny_.open();
};

TEST_F(PendingLogitsTest, SurvivePassesOfOtherSequences) {
  const std::vector<float> expected = alone(40);
  const Sequence before_prefill = prefilled(40);
  Sequence other = prefilled(30);
  EXPECT_EQ(logits_of(before_prefill), expected);
  const Sequence before_decode = prefilled(40);
  engine_.decode(other, 5);
  EXPECT_EQ(logits_of(before_decode), expected);
}

TEST_F(PendingLogitsTest, SurviveWhenTheirBatchMovesOn) {
  Sequence a = prefilled(40);
  Sequence b = prefilled(30);
  Sequence* const both[] = {&a, &b};
  const int32_t ids[] = {5, 6};
  engine_.decode(both, ids);
  engine_.decode(a, 7);
  Sequence again = prefilled(30);
  engine_.decode(again, 6);
  EXPECT_EQ(logits_of(b), logits_of(again));
}

TEST_F(PendingLogitsTest, GoWithTheirSequence) {
  { const Sequence gone = prefilled(40); }
  Sequence truncated = prefilled(40);
  engine_.truncate(truncated, 39);
  EXPECT_TRUE(truncated.logits().empty());
  const Sequence parent = prefilled(40);
  const Sequence child = engine_.fork(parent);
  EXPECT_EQ(logits_of(child), logits_of(parent));
  EXPECT_EQ(logits_of(child), alone(40));
}

}  // namespace
}  // namespace lychee::test
