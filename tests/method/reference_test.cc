// The oracle itself: against Hugging Face transformers, and by hand.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "method/reference_model.h"
#include "method/reference_selection.h"
#include "support/golden.h"

namespace lychee::test {
namespace {

class ReferenceGolden : public testing::TestWithParam<const char*> {};

TEST_P(ReferenceGolden, DenseMatchesTransformers) {
  const auto path = golden_model(GetParam());
  const Golden golden = read_golden(is_directory(path) ? path : path.parent_path());
  const ReferenceModel model(io::open_model(path.string()));
  ReferenceSequence all(model, {});
  const auto rows = all.prefill(golden.tokens);
  for (size_t i = 0; i < golden.next_prefill.size(); ++i) {
    const auto next = static_cast<size_t>(golden.tokens[i + 1]);
    ASSERT_NEAR(rows[i][next], golden.next_prefill[i], 5e-5) << "position " << i;
  }
  ReferenceSequence stepwise(model, {});
  const auto from = static_cast<size_t>(golden.decode_from);
  stepwise.prefill(std::span(golden.tokens).first(from));
  for (size_t i = from; i + 1 < golden.tokens.size(); ++i) {
    const auto next = static_cast<size_t>(golden.tokens[i + 1]);
    ASSERT_NEAR(stepwise.decode(golden.tokens[i])[next], golden.next_decode[i - from], 5e-5)
        << "position " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, ReferenceGolden,
                         testing::Values("llama2_mha", "llama3_gqa", "llama_tied", "llama31",
                                         "llama31/model.gguf", "llama_linear", "llama_dynamic",
                                         "llama_yarn", "mistral", "qwen2", "qwen2_tied", "qwen3",
                                         "qwen3_yarn"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '/', '_');
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

using Positions = std::vector<int64_t>;

Selection selection(SelectMode mode, int budget, int sink, int recent) {
  Selection result;
  result.mode = mode;
  result.budget = budget;
  result.sink = sink;
  result.recent = recent;
  return result;
}

TEST(ReferenceSelection, TopKTakesForcedThenBestThenLowerPosition) {
  const std::vector<double> scores = {0, 1, 5, 3, 5, 5, 2, -1};
  const ReferenceSet set = reference_select(scores, selection(SelectMode::kTopK, 4, 1, 1), 1);
  EXPECT_EQ(set.positions, (Positions{0, 2, 4, 7}));
  EXPECT_EQ(set.gap, 0);
  const ReferenceSet three = reference_select(scores, selection(SelectMode::kTopK, 6, 1, 1), 1);
  EXPECT_EQ(three.positions, (Positions{0, 2, 3, 4, 5, 7}));
  EXPECT_DOUBLE_EQ(three.gap, 1.0 / 6);
  EXPECT_EQ(reference_select(scores, selection(SelectMode::kTopK, 8, 1, 1), 1).positions.size(),
            8U);
}

TEST(ReferenceSelection, NanCountsAsLowest) {
  const std::vector<double> scores = {0, NAN, -9, 3, 0};
  const ReferenceSet set = reference_select(scores, selection(SelectMode::kTopK, 4, 1, 1), 1);
  EXPECT_EQ(set.positions, (Positions{0, 2, 3, 4}));
}

TEST(ReferenceSelection, RatioCountsFromLength) {
  Selection ratio = selection(SelectMode::kRatio, 1, 1, 1);
  ratio.ratio = 0.41;
  const std::vector<double> scores = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  EXPECT_EQ(reference_select(scores, ratio, 1).positions, (Positions{0, 6, 7, 8, 9}));
}

TEST(ReferenceSelection, MassStopsAtTheTokenThatReachesIt) {
  Selection mass = selection(SelectMode::kMass, 5, 1, 1);
  // Softmax 0.05, 0.5, 0.1, 0.2, 0.1, 0.05.
  std::vector<double> scores;
  for (const double p : {0.05, 0.5, 0.1, 0.2, 0.1, 0.05}) {
    scores.push_back(std::log(p) / 0.5);
  }
  mass.mass = 0.7;
  EXPECT_EQ(reference_select(scores, mass, 0.5).positions, (Positions{0, 1, 3, 5}));
  mass.mass = 0.99;
  EXPECT_EQ(reference_select(scores, mass, 0.5).positions, (Positions{0, 1, 2, 3, 5}));
  mass.mass = 0.09;
  EXPECT_EQ(reference_select(scores, mass, 0.5).positions, (Positions{0, 5}));
}

TEST(ReferenceSelection, ThresholdKeepsTheBestWhenMoreReachIt) {
  Selection threshold = selection(SelectMode::kThreshold, 4, 1, 1);
  std::vector<double> scores;
  for (const double p : {0.05, 0.3, 0.1, 0.25, 0.25, 0.05}) {
    scores.push_back(std::log(p));
  }
  threshold.threshold = 0.27;
  EXPECT_EQ(reference_select(scores, threshold, 1).positions, (Positions{0, 1, 5}));
  threshold.threshold = 0.2;
  EXPECT_EQ(reference_select(scores, threshold, 1).positions, (Positions{0, 1, 3, 5}));
}

TEST(ReferenceSelection, BlocksCountPartialOnesAndForcedOnes) {
  std::vector<double> scores(64 * 4 + 3, 0);
  scores[64 * 2 + 5] = 7;
  const ReferenceSet set = reference_select(scores, selection(SelectMode::kBlock, 192, 1, 1), 1);
  EXPECT_EQ(set.positions.size(), 64U + 64U + 3U);
  EXPECT_EQ(set.positions[64], 128);
  EXPECT_EQ(set.positions.back(), 258);
}

TEST(ReferenceSelection, PagesAreOfSixteenTokens) {
  // 5 pages of 80 tokens; pages 0 and 4 forced; one more fits into a budget of 63.
  const ReferenceSet set =
      reference_select_pages({9, 1, 2, 3, 0}, 80, selection(SelectMode::kTopK, 63, 1, 16));
  EXPECT_EQ(set.positions.size(), 48U);
  EXPECT_EQ(set.positions[16], 48);
}

TEST(ReferenceSelection, StreamingReadsSinkAndMostRecent) {
  EXPECT_EQ(reference_streaming(9, selection(SelectMode::kTopK, 5, 2, 1)).positions,
            (Positions{0, 1, 6, 7, 8}));
}

}  // namespace
}  // namespace lychee::test
