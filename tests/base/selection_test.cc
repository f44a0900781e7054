#include "lychee/selection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lychee/error.h"

namespace lychee {
namespace {

std::string message_of(const Selection& selection) {
  try {
    validate(selection);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.what();
  }
  return "";
}

TEST(Selection, DefaultsAreValid) {
  EXPECT_EQ(message_of({}), "");
}

TEST(Selection, RefusesBudgetBelowForcedTokens) {
  EXPECT_EQ(message_of({.budget = 384, .sink = 128, .recent = 256}), "");
  EXPECT_THAT(message_of({.budget = 383, .sink = 128, .recent = 256}),
              testing::AllOf(testing::HasSubstr("383"), testing::HasSubstr("384")));
}

TEST(Selection, RefusesOverflowingForcedTokens) {
  EXPECT_THAT(message_of({.budget = 64, .sink = 2'000'000'000, .recent = 2'000'000'000}),
              testing::HasSubstr("4000000000"));
}

TEST(Selection, RefusesNoRecentAndNegativeSink) {
  EXPECT_THAT(message_of({.recent = 0}), testing::HasSubstr("recent 0"));
  EXPECT_THAT(message_of({.sink = -1}), testing::HasSubstr("sink -1"));
}

TEST(Selection, RatioIgnoresTheBudget) {
  const Selection ratio{.mode = SelectMode::kRatio, .budget = 1, .ratio = 0.25};
  EXPECT_EQ(message_of(ratio), "");
  EXPECT_EQ(effective_budget(ratio, 100), 384);    // never below sink + recent
  EXPECT_EQ(effective_budget(ratio, 4001), 1001);  // ceil
  EXPECT_EQ(max_selected(ratio, 100), 100);
  EXPECT_THAT(message_of({.mode = SelectMode::kRatio, .ratio = 0}), testing::HasSubstr("ratio 0"));
  EXPECT_THAT(message_of({.mode = SelectMode::kRatio, .ratio = 1.5}),
              testing::HasSubstr("ratio 1.5"));
}

TEST(Selection, BlockCountsTheBlocksThatForcedTokensMayTouch) {
  // sink 1 -> 1 block, recent 66 -> 1 + ceil(65/64) = 3 blocks: 4 in all.
  EXPECT_EQ(message_of({.mode = SelectMode::kBlock, .budget = 256, .sink = 1, .recent = 66}), "");
  EXPECT_THAT(message_of({.mode = SelectMode::kBlock, .budget = 192, .sink = 1, .recent = 66}),
              testing::HasSubstr("may need 4"));
  EXPECT_THAT(message_of({.mode = SelectMode::kBlock, .budget = 1000}),
              testing::HasSubstr("multiple of the block size 64"));
}

TEST(Selection, RefusesProbabilitiesOutsideTheirRange) {
  EXPECT_NE(message_of({.mode = SelectMode::kMass, .mass = 0}), "");
  EXPECT_NE(message_of({.mode = SelectMode::kMass, .mass = 1.01}), "");
  EXPECT_EQ(message_of({.mode = SelectMode::kMass, .mass = 1}), "");
  EXPECT_NE(message_of({.mode = SelectMode::kThreshold, .threshold = -0.1}), "");
  EXPECT_EQ(message_of({.mode = SelectMode::kThreshold, .threshold = 0}), "");
}

TEST(Selection, NamesRoundTrip) {
  for (const SelectMode mode : {SelectMode::kTopK, SelectMode::kBlock, SelectMode::kRatio,
                                SelectMode::kMass, SelectMode::kThreshold}) {
    EXPECT_EQ(parse_select_mode(select_mode_name(mode)), mode);
  }
  EXPECT_EQ(parse_select_mode("best"), std::nullopt);
}

}  // namespace
}  // namespace lychee
