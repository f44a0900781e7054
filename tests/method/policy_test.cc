// Every policy and selection mode of the engine against the double-precision reference.

#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "method/runs.h"

namespace lychee::test {
namespace {

constexpr double kTolerance = 1e-4;
constexpr double kSmallestGap = 1e-5;  // of the score range: below it sets may rightly differ

struct Case {
  const char* name;
  Policy policy;
  SelectMode mode = SelectMode::kTopK;
  std::vector<int> selecting_layers = {};
  int cache_correction = 0;
  int64_t dense_steps = 0;  // of the decode steps, how many dense_below makes dense
};

void PrintTo(const Case& value, std::ostream* out) {
  *out << value.name;
}

const std::vector<Case>& cases() {
  static const std::vector<Case> kCases = {
      {"dense", Policy::kDense},
      {"hybrid_topk", Policy::kHybrid, SelectMode::kTopK},
      {"hybrid_block", Policy::kHybrid, SelectMode::kBlock},
      {"hybrid_ratio", Policy::kHybrid, SelectMode::kRatio},
      {"hybrid_mass", Policy::kHybrid, SelectMode::kMass},
      {"hybrid_threshold", Policy::kHybrid, SelectMode::kThreshold},
      {"hybrid_corrected", Policy::kHybrid, SelectMode::kTopK, {}, 4},
      {"hybrid_automatic_dense", Policy::kHybrid, SelectMode::kTopK, {}, 0, 5},
      {"shared_topk", Policy::kLayerShared, SelectMode::kTopK},
      {"shared_block", Policy::kLayerShared, SelectMode::kBlock},
      {"shared_ratio", Policy::kLayerShared, SelectMode::kRatio},
      {"shared_mass", Policy::kLayerShared, SelectMode::kMass},
      {"shared_threshold", Policy::kLayerShared, SelectMode::kThreshold},
      {"shared_at_layer_1", Policy::kLayerShared, SelectMode::kTopK, {1}},
      {"shared_corrected", Policy::kLayerShared, SelectMode::kTopK, {}, 3},
      {"streaming", Policy::kStreaming},
      {"streaming_automatic_dense", Policy::kStreaming, SelectMode::kTopK, {}, 0, 3},
      {"duo", Policy::kDuo},
      {"duo_corrected", Policy::kDuo, SelectMode::kTopK, {}, 5},
      {"page_bound", Policy::kPageBound},
      {"page_bound_corrected", Policy::kPageBound, SelectMode::kTopK, {}, 4},
  };
  return kCases;
}

std::optional<DType> rounding(KvDtype kv_dtype) {
  if (kv_dtype == KvDtype::kF16) {
    return DType::kF16;
  }
  return kv_dtype == KvDtype::kBF16 ? std::optional(DType::kBF16) : std::nullopt;
}

// One prompt in both; answers are redrawn until no selection is on a knife's edge.
class Comparison {
 public:
  Comparison(Subject& subject, const Case& test_case, int64_t prompt, int64_t steps)
      : subject_(subject), prompt_(prompt), steps_(steps) {
    options_ = small_options(test_case.policy, test_case.mode, subject);
    options_.selecting_layers = test_case.selecting_layers;
    options_.cache_correction = test_case.cache_correction;
    options_.dense_below = test_case.dense_steps > 0 ? prompt + test_case.dense_steps : 0;
  }

  void check(double tolerance, double smallest_gap = kSmallestGap) {
    ReferenceSequence prefilled(subject_.reference, options_, rounding(subject_.kv_dtype));
    const std::vector<int32_t> prompt = subject_.tokens(prompt_, 1);
    prefilled.prefill(prompt);
    for (uint32_t seed = 2; seed < 100; ++seed) {
      const std::vector<int32_t> answer = subject_.tokens(steps_, seed);
      ReferenceSequence reference = prefilled;
      LogProbs expected;
      for (const int32_t token_id : answer) {
        expected.push_back(reference.decode(token_id));
      }
      if (reference.smallest_gap() >= smallest_gap) {
        compare(prompt, answer, expected, reference, tolerance);
        return;
      }
    }
    FAIL() << "no answer without a close selection";
  }

 private:
  void compare(const std::vector<int32_t>& prompt, const std::vector<int32_t>& answer,
               const LogProbs& expected, const ReferenceSequence& reference, double tolerance) {
    Sequence sequence = subject_.engine.create_sequence(options_);
    subject_.engine.prefill(sequence, prompt);
    for (size_t step = 0; step < answer.size(); ++step) {
      subject_.engine.decode(sequence, answer[step]);
      ASSERT_LE(worst_difference({log_probs_of(sequence)}, {expected[step]}), tolerance)
          << "step " << step << " after " << prompt.size() << " tokens";
    }
    const DecodeStats& stats = sequence.stats();
    const DecodeStats& wanted = reference.stats();
    EXPECT_EQ(stats.decode_steps, wanted.decode_steps);
    EXPECT_EQ(stats.corrections, wanted.corrections);
    if (options_.policy != Policy::kDense) {
      EXPECT_EQ(stats.dense_steps, wanted.dense_steps);
    }
    EXPECT_NEAR(stats.kv_read(), wanted.kv_read(), 1e-12);
    EXPECT_DOUBLE_EQ(stats.kv_bytes_read_dense, wanted.kv_bytes_read_dense);
  }

  Subject& subject_;
  GenerationOptions options_;
  int64_t prompt_;
  int64_t steps_;
};

class PolicyTest : public testing::TestWithParam<std::tuple<std::string, Case>> {};

TEST_P(PolicyTest, MatchesReference) {
  const auto& [name, test_case] = GetParam();
  Subject subject(name);
  const int64_t prompt = test_case.mode == SelectMode::kBlock ? 459 : 233;
  Comparison(subject, test_case, prompt, 9).check(kTolerance);
}

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const TinyModel& model : tiny_models()) {
    names.emplace_back(model.name);
  }
  return names;
}

std::string test_name(const testing::TestParamInfo<std::tuple<std::string, Case>>& info) {
  return std::get<0>(info.param) + "_" + std::get<1>(info.param).name;
}

INSTANTIATE_TEST_SUITE_P(All, PolicyTest,
                         testing::Combine(testing::ValuesIn(model_names()),
                                          testing::ValuesIn(cases())),
                         test_name);

// The budget is reached, and passed, during the answer.
TEST(PolicyLengthTest, AnswersThatCrossTheBudgetMatchReference) {
  for (const Case& test_case : cases()) {
    if (test_case.mode == SelectMode::kTopK && test_case.dense_steps == 0) {
      SCOPED_TRACE(test_case.name);
      Subject subject("qwen3");
      Comparison(subject, test_case, 56, 12).check(kTolerance);
    }
  }
}

TEST(PolicyLengthTest, ShortestPromptsMatchReference) {
  for (const Policy policy : {Policy::kDense, Policy::kHybrid, Policy::kLayerShared,
                              Policy::kStreaming, Policy::kDuo, Policy::kPageBound}) {
    SCOPED_TRACE(policy_name(policy));
    Subject subject("llama");
    Comparison(subject, {"", policy}, 1, 5).check(kTolerance);
  }
}

// K and V rounded as the cache rounds them. A value next to a rounding boundary may land one unit
// apart, 2^-11 (f16) or 2^-8 (bf16) of it: the tolerance, and the gap, allow such flips.
TEST(PolicyDtypeTest, CacheOfF16MatchesReference) {
  Subject subject("llama", KvDtype::kF16);
  Comparison(subject, {"", Policy::kDense}, 150, 5).check(2e-3);
  Comparison(subject, {"", Policy::kHybrid}, 150, 5).check(2e-3, 3e-4);
  Comparison(subject, {"", Policy::kPageBound}, 150, 5).check(2e-3, 3e-4);
}

TEST(PolicyDtypeTest, CacheOfBf16MatchesReference) {
  Subject subject("llama", KvDtype::kBF16);
  Comparison(subject, {"", Policy::kDense}, 150, 5).check(16e-3);
  Comparison(subject, {"", Policy::kStreaming}, 150, 5).check(16e-3);
}

}  // namespace
}  // namespace lychee::test
