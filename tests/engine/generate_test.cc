// Generation: finish reasons, stop strings, sampling, callbacks, corrections.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/tiny_engine.h"
#include "support/expect_error.h"

namespace lychee::test {
namespace {

constexpr const char* kPrompt = "The pass key is 4 2 7 1 . The pass key is";

class NeedleTest : public testing::Test {
 protected:
  NeedleTest() : engine_(options()) {}
  static EngineOptions options() {
    EngineOptions options;
    options.model = "builtin:needle";
    options.threads = 1;
    options.max_cache_tokens = 2048;
    return options;
  }
  Engine engine_;
};

class GenerateTest : public testing::Test {
 protected:
  GenerateTest() : engine_(tiny_.open()) {}

  GenerationResult generate(const GenerationOptions& options, int64_t prompt = 30) {
    Sequence sequence = engine_.create_sequence(options);
    engine_.prefill(sequence, tokens(prompt));
    return engine_.generate(sequence);
  }

  TinyEngine tiny_;
  Engine engine_;
};

TEST_F(NeedleTest, StreamsWhatItReturns) {
  std::string streamed;
  GenerationOptions options;
  options.max_tokens = 5;
  const GenerationResult result = engine_.generate(kPrompt, options, [&](std::string_view text) {
    streamed += text;
    return true;
  });
  EXPECT_EQ(result.text, "4 2 7 1 .");
  EXPECT_EQ(streamed, result.text);
  EXPECT_EQ(result.token_ids.size(), 5U);
  EXPECT_EQ(result.prompt_tokens, 13);
  EXPECT_EQ(result.finish_reason, FinishReason::kLength);
  EXPECT_GT(result.ttft_s, 0);
  EXPECT_GT(result.prefill_tokens_per_s, 0);
  EXPECT_GT(result.decode_tokens_per_s, 0);
  EXPECT_EQ(result.stats.decode_steps, 4);  // the last token is not fed
}

// Each word is a token: the stop string begins in one and ends in another.
TEST_F(NeedleTest, StopStringsCrossTokens) {
  GenerationOptions options;
  options.max_tokens = 5;
  const auto text = [&](const std::vector<std::string>& stop) {
    options.stop = stop;
    std::string streamed;
    const GenerationResult result = engine_.generate(kPrompt, options, [&](std::string_view piece) {
      streamed += piece;
      return true;
    });
    EXPECT_EQ(streamed, result.text);
    EXPECT_EQ(result.finish_reason,
              result.text == "4 2 7 1 ." ? FinishReason::kLength : FinishReason::kStop);
    return result.text;
  };
  EXPECT_EQ(text({"2 7"}), "4 ");
  EXPECT_EQ(text({" 7 1"}), "4 2");
  EXPECT_EQ(text({"7 1 . x"}), "4 2 7 1 .");  // held back to the end, then given
  EXPECT_EQ(text({"9", "7"}), "4 2 ");
  EXPECT_EQ(text({""}), "4 2 7 1 .");
}

TEST_F(NeedleTest, CallbackCancels) {
  GenerationOptions options;
  options.max_tokens = 5;
  int calls = 0;
  const GenerationResult result =
      engine_.generate(kPrompt, options, [&](std::string_view) { return ++calls < 2; });
  EXPECT_EQ(result.finish_reason, FinishReason::kCanceled);
  EXPECT_EQ(result.text, "4 2");
  EXPECT_EQ(calls, 2);
  const GenerationResult unread =
      engine_.generate(std::string(kPrompt), options, {}, [](int64_t, int64_t) { return false; });
  EXPECT_EQ(unread.text.substr(0, 1), "4");  // one chunk: read when it was asked to stop
}

TEST_F(NeedleTest, PromptsWithoutTokensAreRefused) {
  expect_error(ErrorCode::kInvalidArgument, "no logits",
               [&] { static_cast<void>(engine_.generate("", {})); });
}

TEST_F(NeedleTest, EndTokensEnd) {
  GenerationOptions options;
  options.max_tokens = 5;
  options.stop_token_ids = {9};  // "7"
  const GenerationResult result = engine_.generate(kPrompt, options);
  EXPECT_EQ(result.finish_reason, FinishReason::kStop);
  EXPECT_EQ(result.token_ids, (std::vector<int32_t>{6, 4, 9}));
  EXPECT_THAT(result.text, testing::StartsWith("4 2"));
  EXPECT_THAT(result.text, testing::Not(testing::HasSubstr("7")));
  const Sequence sequence = engine_.create_sequence(options);
  EXPECT_TRUE(engine_.is_end_token(sequence, 9));
  EXPECT_TRUE(engine_.is_end_token(sequence, 1));
  EXPECT_FALSE(engine_.is_end_token(sequence, 6));
  options.ignore_eos = true;
  EXPECT_FALSE(engine_.is_end_token(engine_.create_sequence(options), 1));
}

TEST_F(GenerateTest, GreedyTakesTheBest) {
  GenerationOptions options;
  options.max_tokens = 12;
  options.ignore_eos = true;
  const GenerationResult result = generate(options);
  Sequence sequence = engine_.create_sequence({});
  engine_.prefill(sequence, tokens(30));
  for (const int32_t id : result.token_ids) {
    EXPECT_EQ(sequence.top_log_probs(1)[0].first, id);
    engine_.decode(sequence, id);
  }
  EXPECT_EQ(result.token_ids.size(), 12U);
  EXPECT_EQ(result.text, "");  // no tokenizer
}

TEST_F(GenerateTest, SamplingIsFixedBySeed) {
  GenerationOptions options;
  options.temperature = 1;
  options.max_tokens = 24;
  options.ignore_eos = true;
  options.seed = 3;
  const GenerationResult first = generate(options);
  EXPECT_EQ(generate(options).token_ids, first.token_ids);
  Engine other = tiny_.open();
  Sequence sequence = other.create_sequence(options);
  other.prefill(sequence, tokens(30));
  EXPECT_EQ(other.generate(sequence).token_ids, first.token_ids);
  options.seed = 4;
  EXPECT_NE(generate(options).token_ids, first.token_ids);
}

// A batch mate draws from its own numbers.
TEST_F(GenerateTest, SequencesDrawOnTheirOwn) {
  GenerationOptions options;
  options.temperature = 1;
  options.seed = 3;
  options.max_tokens = 8;
  options.ignore_eos = true;
  const GenerationResult alone = generate(options);
  Sequence a = engine_.create_sequence(options);
  Sequence b = engine_.create_sequence(options);
  engine_.prefill(a, tokens(30));
  engine_.prefill(b, tokens(50));
  std::vector<int32_t> drawn;
  for (int i = 0; i < 8; ++i) {
    const std::vector<int32_t> ids = {engine_.sample(a), engine_.sample(b)};
    drawn.push_back(ids[0]);
    const std::vector<Sequence*> batch = {&a, &b};
    engine_.decode(batch, ids);
  }
  EXPECT_EQ(drawn, alone.token_ids);
}

TEST_F(GenerateTest, FrequenciesFollowTheProbabilities) {
  GenerationOptions options;
  options.temperature = 1;
  Sequence sequence = engine_.create_sequence(options);
  engine_.prefill(sequence, tokens(30));
  constexpr int kDraws = 20000;
  std::vector<int> counts(kVocab, 0);
  for (int i = 0; i < kDraws; ++i) {
    ++counts[static_cast<size_t>(engine_.sample(sequence))];
  }
  for (int32_t id = 0; id < kVocab; ++id) {
    const double p = std::exp(sequence.log_prob(id));
    EXPECT_NEAR(counts[static_cast<size_t>(id)], kDraws * p, 6 * std::sqrt(kDraws * p) + 6) << id;
  }
}

TEST_F(GenerateTest, PenaltyMovesAwayFromWhatWasSeen) {
  GenerationOptions options;
  options.max_tokens = 30;
  options.ignore_eos = true;
  options.repetition_penalty = 1e6;
  const GenerationResult result = generate(options, 20);
  std::vector<int32_t> seen = tokens(20);
  for (const int32_t id : result.token_ids) {
    EXPECT_EQ(std::count(seen.begin(), seen.end(), id), 0) << id;
    seen.push_back(id);
  }
}

TEST_F(GenerateTest, EndsAtTheContextAndAtTheCache) {
  GenerationOptions options;
  options.ignore_eos = true;
  const GenerationResult context = generate(options, 250);
  EXPECT_EQ(context.finish_reason, FinishReason::kLength);
  EXPECT_EQ(context.token_ids.size(), 7U);  // six fit; the seventh is not fed
  Engine small = tiny_.open(64);
  Sequence sequence = small.create_sequence(options);
  small.prefill(sequence, tokens(60));
  const GenerationResult cache = small.generate(sequence);
  EXPECT_EQ(cache.finish_reason, FinishReason::kLength);
  EXPECT_EQ(cache.token_ids.size(), 5U);
  EXPECT_EQ(sequence.length(), 64);
}

TEST_F(GenerateTest, NoTokensWereAskedFor) {
  GenerationOptions options;
  options.max_tokens = 0;
  const GenerationResult result = generate(options);
  EXPECT_TRUE(result.token_ids.empty());
  EXPECT_EQ(result.finish_reason, FinishReason::kLength);
  EXPECT_EQ(result.stats.kv_read(), 1);
}

TEST_F(GenerateTest, CorrectionsComeEveryPeriodAndAreDense) {
  const std::vector<int32_t> ids = tokens(130);
  const auto prompt = std::span(ids).first(100);
  GenerationOptions options = small_hybrid();
  options.cache_correction = 8;
  Sequence sequence = engine_.create_sequence(options);
  engine_.prefill(sequence, prompt);
  Sequence dense = engine_.create_sequence({});
  engine_.prefill(dense, prompt);
  for (int i = 1; i <= 30; ++i) {
    const int32_t id = ids[static_cast<size_t>(99 + i)];
    engine_.decode(sequence, id);
    engine_.decode(dense, id);
    EXPECT_EQ(sequence.stats().corrections, i / 8) << i;
    EXPECT_EQ(sequence.stats().decode_steps, i);
    double worst = 0;
    for (int32_t token = 0; token < kVocab; ++token) {
      worst = std::max(worst, std::fabs(sequence.log_prob(token) - dense.log_prob(token)));
    }
    if (i % 8 == 0) {
      EXPECT_LT(worst, 1e-4) << i;
    } else {
      EXPECT_GT(worst, 1e-4) << i;
    }
  }
  EXPECT_EQ(sequence.stats().dense_steps, 0);
  // A prompt between two answers starts the period anew.
  engine_.prefill(sequence, tokens(5));
  for (int i = 0; i < 7; ++i) {
    engine_.decode(sequence, 5);
  }
  EXPECT_EQ(sequence.stats().corrections, 3);
  engine_.decode(sequence, 5);
  EXPECT_EQ(sequence.stats().corrections, 4);
}

// Pages that hold forced tokens are read whole: sets larger than the budget.
TEST_F(GenerateTest, PageBoundBudgetsBelowAPage) {
  const std::vector<int32_t> ids = tokens(60);
  const auto step = [&](int budget) {
    GenerationOptions options;
    options.policy = Policy::kPageBound;
    options.selection = Selection{.budget = budget, .sink = 1, .recent = 2};
    Sequence sequence = engine_.create_sequence(options);
    engine_.prefill(sequence, std::span(ids).first(40));
    std::vector<std::vector<float>> rows;
    for (size_t i = 40; i < 48; ++i) {
      engine_.decode(sequence, ids[i]);
      rows.push_back(logits_of(sequence));
    }
    EXPECT_LT(sequence.stats().kv_read(), 1);
    return rows;
  };
  // The first page and the last: two pages, whether the budget has room for them or not.
  EXPECT_EQ(step(3), step(32));
  EXPECT_EQ(step(16), step(32));
}

TEST_F(GenerateTest, PageBoundWithinOnePage) {
  GenerationOptions options;
  options.policy = Policy::kPageBound;
  options.selection = Selection{.budget = 3, .sink = 1, .recent = 2};
  options.max_tokens = 20;
  options.ignore_eos = true;
  EXPECT_EQ(generate(options, 2).token_ids.size(), 20U);
}

TEST_F(GenerateTest, RefusesImpossibleOptions) {
  const auto refused = [&](const std::string& part, auto change) {
    GenerationOptions options;
    change(options);
    expect_error(ErrorCode::kInvalidArgument, part,
                 [&] { static_cast<void>(engine_.create_sequence(options)); });
  };
  using Options = GenerationOptions;
  refused("temperature nan", [](Options& o) { o.temperature = std::nan(""); });
  refused("temperature inf", [](Options& o) { o.temperature = INFINITY; });
  refused("temperature -1", [](Options& o) { o.temperature = -1; });
  refused("top_k -1", [](Options& o) { o.top_k = -1; });
  refused("top_p 1.5", [](Options& o) { o.top_p = 1.5; });
  refused("top_p nan", [](Options& o) { o.top_p = std::nan(""); });
  refused("min_p -0.5", [](Options& o) { o.min_p = -0.5; });
  refused("repetition_penalty 0", [](Options& o) { o.repetition_penalty = 0; });
  refused("max_tokens -1", [](Options& o) { o.max_tokens = -1; });
  refused("dense_below -1", [](Options& o) { o.dense_below = -1; });
  refused("cache correction period -1", [](Options& o) { o.cache_correction = -1; });
  refused("needs a head plan", [](Options& o) { o.policy = Policy::kHybrid; });
  refused("selecting layers", [](Options& o) { o.selecting_layers = {1}; });
  refused("selecting layer 3", [](Options& o) {
    o.policy = Policy::kLayerShared;
    o.selecting_layers = {0, 3};
  });
  refused("budget 4096 is below sink 4000 + recent 256", [](Options& o) {
    o.policy = Policy::kStreaming;
    o.selection.sink = 4000;
  });
  refused("is for 4 layers", [](Options& o) {
    o.policy = Policy::kDuo;
    o.head_plan = std::make_shared<HeadPlan>(4, 2);
  });
  refused("takes no head plan", [](Options& o) { o.head_plan = std::make_shared<HeadPlan>(3, 2); });
}

}  // namespace
}  // namespace lychee::test
