#include "eval/runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <set>

#include "eval/answer.h"
#include "eval/rows.h"
#include "io/needle/builtin_needle.h"
#include "lychee/error.h"

namespace lychee::eval {
namespace {

using ::testing::HasSubstr;

GenerationOptions setting(Policy policy, const HeadPlan& plan, Selection selection) {
  GenerationOptions options;
  options.policy = policy;
  options.selection = selection;
  if (policy_needs_plan(policy)) {
    options.head_plan = std::make_shared<HeadPlan>(plan);
  }
  return options;
}

constexpr Selection kBudget512{.budget = 512};
constexpr Selection kBudget128{.budget = 128, .sink = 16, .recent = 64};

// score by "policy heads budget" of every row, for one length.
std::map<std::string, double> scores(const std::vector<SampleResult>& results) {
  std::map<std::string, double> scores;
  for (const EvalRow& row : summarize(results)) {
    scores[row.policy + " " + row.heads + " " + std::to_string(row.budget)] = row.score;
  }
  return scores;
}

class NeedleEval : public ::testing::Test {
 protected:
  void start(const std::string& model, KvDtype kv_dtype, int64_t max_cache_tokens = 0) {
    engine_ = std::make_unique<Engine>(
        EngineOptions{.model = model, .kv_dtype = kv_dtype, .max_cache_tokens = max_cache_tokens});
    plans_ = io::builtin_plans(model);
  }
  EvalOptions options(int64_t length, int samples, Selection selection) const {
    EvalOptions options;
    options.lengths = {length};
    options.samples = samples;
    options.settings = {setting(Policy::kHybrid, plans_.plan, selection),
                        setting(Policy::kHybrid, plans_.swapped, selection),
                        setting(Policy::kDense, {}, selection),
                        setting(Policy::kStreaming, {}, selection)};
    return options;
  }

  TaskInputs inputs() const {
    TaskInputs inputs;
    inputs.encode = [this](std::string_view text) { return engine_->encode(text); };
    inputs.wrap = [](std::string_view user, std::string_view prefix) {
      return std::string(user).append(prefix);
    };
    inputs.book = std::make_shared<samples::Book>(samples::default_book());
    inputs.decode = [this](std::span<const int32_t> ids) {
      return engine_->decode_text(ids, true);
    };
    return inputs;
  }
  std::vector<SampleResult> run(const EvalOptions& options, const char* task = "passkey",
                                ResultFolder* folder = nullptr,
                                const EvalProgressCallback& progress = {}) {
    return run_eval(*engine_, make_tasks({task}, inputs()), options, folder, progress);
  }

  std::unique_ptr<Engine> engine_;
  io::BuiltinPlans plans_;
};

// Few heads, so that prompts cost little: the circuit needs five.
constexpr const char* kSmallModel =
    "builtin:needle?layers=4&kv_heads=2&layer=2&head=1&distractors=1";

TEST_F(NeedleEval, TheTruePlanRetrievesAndOthersFail) {
  for (const KvDtype kv_dtype : {KvDtype::kF32, KvDtype::kF16, KvDtype::kBF16}) {
    start(kSmallModel, kv_dtype);
    const auto results = run(options(700, 2, kBudget128));
    EXPECT_THAT(scores(results),
                testing::UnorderedElementsAre(testing::Pair("hybrid builtin 128", 1.0),
                                              testing::Pair("hybrid builtin:swapped 128", 0.0),
                                              testing::Pair("dense  0", 1.0),
                                              testing::Pair("streaming  128", 0.0)));
    for (const SampleResult& result : results) {
      EXPECT_EQ(result.decode_steps, 4);
      EXPECT_EQ(result.kv_bytes_read < result.kv_bytes_read_dense, result.policy != "dense");
      EXPECT_LE(result.prompt_tokens + 5, 700);
    }
  }
}

// Lengths of the next test: what a build without optimisation can do in seconds, and the rest.
#ifdef NDEBUG
constexpr int64_t kLongLengths[] = {1024, 8192};
#else
constexpr int64_t kLongLengths[] = {1024};
#endif

TEST_F(NeedleEval, HoldsWithTheDefaultModelAtBudget512) {
  start("builtin:needle", KvDtype::kAuto);
  for (const int64_t length : kLongLengths) {
    SCOPED_TRACE(length);
    const auto found = scores(run(options(length, 1, kBudget512)));
    EXPECT_EQ(found.at("hybrid builtin 512"), 1);
    EXPECT_EQ(found.at("dense  0"), 1);
    EXPECT_EQ(found.at("hybrid builtin:swapped 512"), 0);
    EXPECT_EQ(found.at("streaming  512"), 0);
  }
}

TEST_F(NeedleEval, HoldsForOtherShapes) {
  for (const char* model : {"builtin:needle?layers=4&kv_heads=2&layer=2&head=0&distractors=2",
                            "builtin:needle?layers=5&kv_heads=3&layer=3&head=2&group=2"}) {
    start(model, KvDtype::kF16);
    const auto found = scores(run(options(500, 2, kBudget128)));
    EXPECT_EQ(found.at("hybrid builtin 128"), 1) << model;
    EXPECT_EQ(found.at("hybrid builtin:swapped 128"), 0) << model;
  }
}

TEST_F(NeedleEval, InheritanceIsWhatCarriesTheAnswer) {
  start(kSmallModel, KvDtype::kF16);
  EvalOptions eval = options(700, 2, kBudget128);
  // In duo the circuit's first head is dense as well, but its second sees no inherited set.
  eval.settings = {setting(Policy::kDuo, plans_.plan, kBudget128),
                   setting(Policy::kLayerShared, {}, kBudget128)};
  EXPECT_THAT(scores(run(eval)),
              testing::UnorderedElementsAre(testing::Pair("duo builtin 128", 0.0),
                                            testing::Pair("layer-shared  128", 1.0)));
}

TEST_F(NeedleEval, ResumesWhereItStopped) {
  const auto path = std::filesystem::path(::testing::TempDir()) / "needle_eval_resume";
  std::filesystem::remove_all(path);
  start(kSmallModel, KvDtype::kF16);
  const EvalOptions eval = options(300, 3, kBudget128);
  const nlohmann::ordered_json described{{"seed", 0}};
  {
    ResultFolder folder(path, described, false);
    const auto stopped = run(eval, "passkey", &folder,
                             [](const EvalProgress& progress) { return progress.sample < 1; });
    EXPECT_EQ(stopped.size(), 4U);
  }
  std::set<int> prefilled;
  ResultFolder folder(path, described, true);
  EXPECT_EQ(folder.kept().size(), 4U);
  const auto resumed = run(eval, "passkey", &folder, [&](const EvalProgress& progress) {
    prefilled.insert(progress.sample);
    return true;
  });
  EXPECT_EQ(prefilled, (std::set<int>{1, 2})) << "the prompts that were left";
  EXPECT_EQ(resumed.size(), 12U);
  const auto whole = run(eval);
  ASSERT_EQ(whole.size(), resumed.size());
  for (size_t i = 0; i < whole.size(); ++i) {
    EXPECT_EQ(whole[i].key(), resumed[i].key());
    EXPECT_EQ(whole[i].texts, resumed[i].texts);
    EXPECT_EQ(whole[i].references, resumed[i].references);
    EXPECT_EQ(whole[i].prefilled_tokens > 0, i % 4 == 0) << "the first of a prompt's settings";
  }
  std::filesystem::remove_all(path);
}

TEST_F(NeedleEval, AnswersAreTheSameTogether) {
  start(kSmallModel, KvDtype::kF16);
  EvalOptions eval = options(700, 2, kBudget128);
  const auto alone = run(eval, "needle");
  eval.together = true;
  const auto together = run(eval, "needle");
  ASSERT_EQ(alone.size(), together.size());
  for (size_t i = 0; i < alone.size(); ++i) {
    EXPECT_EQ(alone[i].texts, together[i].texts);
    EXPECT_EQ(alone[i].score, together[i].score);
    EXPECT_EQ(alone[i].kv_bytes_read, together[i].kv_bytes_read);
  }
  EXPECT_EQ(scores(alone).at("dense  0"), 1);
  EXPECT_EQ(scores(alone).at("hybrid builtin 128"), 1);
  EXPECT_EQ(scores(alone).at("streaming  128"), 0);
}

TEST_F(NeedleEval, TextsAreFollowedAlikeTogether) {
  start(kSmallModel, KvDtype::kF16);
  EvalOptions eval = options(400, 2, kBudget128);
  const auto alone = run(eval, "perplexity");
  eval.together = true;
  const auto together = run(eval, "perplexity");
  ASSERT_EQ(alone.size(), together.size());
  for (size_t i = 0; i < alone.size(); ++i) {
    EXPECT_EQ(alone[i].metrics, together[i].metrics);
    EXPECT_EQ(alone[i].kv_bytes_read, together[i].kv_bytes_read);
  }
  EXPECT_GT(alone.back().metrics.at("kl"), 0);
}

// A cache that holds the context and three of four sequences: settings are followed by twos, and a
// dense one besides where it is not among them.
TEST_F(NeedleEval, TextsAreFollowedInGroupsWhereAllDoNotFit) {
  constexpr int64_t kCacheTokens = 1536;
  for (const bool with_dense : {true, false}) {
    std::vector<SampleResult> results[2];
    for (const int64_t max_cache_tokens : {int64_t{0}, kCacheTokens}) {
      start(kSmallModel, KvDtype::kF16, max_cache_tokens);
      EvalOptions eval = options(600, 2, kBudget128);
      if (!with_dense) {
        eval.settings.erase(eval.settings.begin() + 2);
      }
      eval.together = true;
      results[max_cache_tokens == 0 ? 0 : 1] = run(eval, "perplexity");
    }
    ASSERT_EQ(results[0].size(), results[1].size());
    for (size_t i = 0; i < results[0].size(); ++i) {
      EXPECT_EQ(results[0][i].metrics, results[1][i].metrics) << i;
      EXPECT_EQ(results[0][i].kv_bytes_read, results[1][i].kv_bytes_read) << i;
    }
    EXPECT_GT(results[1].back().metrics.at("kl"), 0);
  }
}

TEST_F(NeedleEval, PhrasesAreAskedOneByOne) {
  start(kSmallModel, KvDtype::kF16);
  EvalOptions eval = options(700, 1, kBudget128);
  eval.settings = {setting(Policy::kStreaming, {}, kBudget128)};
  const auto results = run(eval, "phrase");
  for (const SampleResult& result : results) {
    EXPECT_EQ(result.texts.size(), 10U);
    EXPECT_EQ(result.references.size(), 10U);
    EXPECT_GE(result.metrics.at("words"), result.score);
    EXPECT_GE(result.decode_steps, 10 * 31);
  }
}

// The model is told a token after each that it predicted: the same as decoding by hand.
TEST_F(NeedleEval, ForcedAnswersAreFedAsTheyAre) {
  start(kSmallModel, KvDtype::kF32);
  const TaskList tasks = make_tasks({"needle"}, inputs());
  const Prompt prompt = tasks.front()->make({700, 0, 1, 0});
  Query query = prompt.queries.front();
  Sequence asked = engine_->create_sequence({});
  engine_->prefill(asked, prompt.context_ids);
  engine_->prefill(asked, query.token_ids);
  const auto answer = [&](bool together) {
    std::vector<Answer> answers;
    answers.push_back({.sequence = engine_->fork(asked)});
    answers.push_back({.sequence = engine_->fork(asked)});
    EXPECT_TRUE(
        generate_answers(*engine_, *tasks.front(), query, answers, together, [] { return true; }));
    EXPECT_EQ(answers[0].token_ids, answers[1].token_ids);
    return answers[0].token_ids;
  };
  const std::vector<int32_t> free = answer(false);
  query.forced = free;
  std::ranges::reverse(query.forced);
  std::vector<int32_t> said;
  Sequence told = engine_->fork(asked);
  for (const int32_t id : query.forced) {
    said.push_back(engine_->sample(told));
    engine_->decode(told, id);
  }
  EXPECT_NE(said, free);
  EXPECT_EQ(answer(false), said);
  EXPECT_EQ(answer(true), said);
}

// Passkeys whose first digit ends the answer.
class EndedTask : public Task {
 public:
  EndedTask(const TaskInputs& inputs, int64_t min_tokens)
      : encode_(inputs.encode), keys_(make_tasks({"passkey"}, inputs)), min_tokens_(min_tokens) {}
  [[nodiscard]] std::string name() const override { return "ended"; }
  [[nodiscard]] Prompt make(const SampleId& id) const override {
    Prompt prompt = keys_.front()->make(id);
    Query& query = prompt.queries.front();
    query.end_ids = {encode_(query.references.front().substr(0, 1)).back()};
    query.min_tokens = min_tokens_;
    return prompt;
  }
  double score(std::string_view, const Query&, Metrics&) const override { return 0; }

 private:
  samples::Encoder encode_;
  TaskList keys_;
  int64_t min_tokens_;
};

TEST_F(NeedleEval, AnswersEndWhereTheirQuerySays) {
  start(kSmallModel, KvDtype::kF16);
  EvalOptions eval = options(300, 1, kBudget128);
  eval.settings = {setting(Policy::kDense, {}, kBudget128)};
  for (const int64_t min_tokens : {0, 1}) {
    TaskList tasks;
    tasks.push_back(std::make_unique<EndedTask>(inputs(), min_tokens));
    const SampleResult result = run_eval(*engine_, tasks, eval, nullptr).front();
    EXPECT_EQ(result.texts.front().empty(), min_tokens == 0) << result.texts.front();
    EXPECT_FALSE(result.texts.front().starts_with(result.references.front().front().front()));
  }
}

TEST_F(NeedleEval, FollowsATextBesideDense) {
  start(kSmallModel, KvDtype::kF32);
  const EvalOptions eval = options(300, 1, kBudget128);
  TaskInputs few = inputs();
  few.decode_tokens = 16;
  for (const char* task : {"perplexity", "recall"}) {
    const auto results = run_eval(*engine_, make_tasks({task}, few), eval, nullptr);
    ASSERT_EQ(results.size(), 4U);
    for (const SampleResult& result : results) {
      EXPECT_EQ(result.decode_steps, 15);
      EXPECT_EQ(result.prompt_tokens, 300 - 16);
      EXPECT_GT(result.metrics.at("nll"), 0);
      const bool dense = result.policy == "dense";
      EXPECT_EQ(result.metrics.at("kl") < 1e-9, dense);
      if (dense) {
        EXPECT_EQ(result.metrics.at("agreement"), 1);
      }
    }
    for (const EvalRow& row : summarize(results)) {
      if (row.task == "perplexity") {
        EXPECT_NEAR(row.score, std::exp(row.metrics.at("nll")), 1e-6 * row.score);
      } else if (row.policy == "hybrid") {
        // Layer 0 retrieves; the others have a share, and their mean is the score.
        ASSERT_EQ(row.recall.size(), 4U);
        EXPECT_EQ(row.recall[0], (std::vector<double>{-1, -1}));
        EXPECT_GT(row.score, 0);
        EXPECT_LT(row.score, 1);
      }
    }
  }
}

TEST_F(NeedleEval, FollowsBesideADenseSequenceWhereNoSettingIsDense) {
  start(kSmallModel, KvDtype::kF32);
  TaskInputs few = inputs();
  few.decode_tokens = 16;
  EvalOptions eval = options(300, 1, kBudget128);
  const auto with = run_eval(*engine_, make_tasks({"perplexity"}, few), eval, nullptr);
  std::erase_if(eval.settings, [](const auto& one) { return one.policy == Policy::kDense; });
  const auto without = run_eval(*engine_, make_tasks({"perplexity"}, few), eval, nullptr);
  ASSERT_EQ(without.size(), 3U);
  for (const SampleResult& result : without) {
    const auto same = std::find_if(with.begin(), with.end(), [&](const SampleResult& other) {
      return other.key() == result.key();
    });
    ASSERT_NE(same, with.end());
    EXPECT_EQ(same->metrics, result.metrics);
    EXPECT_GT(result.metrics.at("kl"), 0);
  }
}

TEST_F(NeedleEval, ATimeIsTakenForAllThatIsDone) {
  start(kSmallModel, KvDtype::kF16);
  double timed = 0;
  double all = 0;
  for (const SampleResult& result : run(options(300, 2, kBudget128), "needle")) {
    timed += result.prefill_seconds + result.decode_seconds;
    all += result.seconds;
    EXPECT_EQ(result.seconds > 0, result.prefilled_tokens > 0);
    EXPECT_GT(result.decode_seconds, 0);
  }
  EXPECT_GE(all, timed);
}

TEST_F(NeedleEval, SeedsGiveOtherKeys) {
  start(kSmallModel, KvDtype::kF16);
  EvalOptions eval = options(300, 2, kBudget128);
  const auto first = run(eval);
  eval.seed = 1;
  const auto second = run(eval);
  EXPECT_NE(first[0].references, second[0].references);
  EXPECT_NE(first[0].references, first[4].references);
  EXPECT_EQ(first[0].references, first[3].references) << "all settings answer the same sample";
}

TEST_F(NeedleEval, RefusesBadOptions) {
  start(kSmallModel, KvDtype::kF16);
  const EvalOptions good = options(300, 1, kBudget128);
  const auto expect_refused = [&](const EvalOptions& bad, const char* part) {
    try {
      static_cast<void>(run(bad));
      ADD_FAILURE() << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      EXPECT_THAT(error.what(), HasSubstr(part));
    }
  };
  EvalOptions bad = good;
  bad.samples = 0;
  expect_refused(bad, "0 samples");
  bad = good;
  bad.settings.clear();
  expect_refused(bad, "needs a policy");
  bad = good;
  bad.lengths.clear();
  expect_refused(bad, "needs a length");
  bad.lengths = {0};
  expect_refused(bad, "length 0 is outside 1…1048576");
  bad.lengths = {(1 << 20) + 1};
  expect_refused(bad, "length 1048577");
}

}  // namespace
}  // namespace lychee::eval
