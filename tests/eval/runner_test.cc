#include "eval/runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>

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
  void start(const std::string& model, KvDtype kv_dtype) {
    engine_ = std::make_unique<Engine>(EngineOptions{.model = model, .kv_dtype = kv_dtype});
    plans_ = io::builtin_plans(model);
  }
  EvalOptions options(int64_t length, int samples, Selection selection) const {
    EvalOptions options;
    options.tasks = {"passkey"};
    options.lengths = {length};
    options.samples = samples;
    options.settings = {setting(Policy::kHybrid, plans_.plan, selection),
                        setting(Policy::kHybrid, plans_.swapped, selection),
                        setting(Policy::kDense, {}, selection),
                        setting(Policy::kStreaming, {}, selection)};
    return options;
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
    const auto results = run_eval(*engine_, options(700, 2, kBudget128), nullptr);
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
    const auto found = scores(run_eval(*engine_, options(length, 1, kBudget512), nullptr));
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
    const auto found = scores(run_eval(*engine_, options(500, 2, kBudget128), nullptr));
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
  EXPECT_THAT(scores(run_eval(*engine_, eval, nullptr)),
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
    const auto stopped = run_eval(*engine_, eval, &folder,
                                  [](const EvalProgress& progress) { return progress.sample < 1; });
    EXPECT_EQ(stopped.size(), 4U);
  }
  int prefills = 0;
  ResultFolder folder(path, described, true);
  EXPECT_EQ(folder.kept().size(), 4U);
  const auto resumed = run_eval(*engine_, eval, &folder, [&](const EvalProgress& progress) {
    prefills += progress.prompt_done == progress.prompt_total ? 1 : 0;
    EXPECT_GE(progress.sample, 1);
    return true;
  });
  EXPECT_EQ(prefills, 2) << "one per prompt that was left, shared by all settings";
  EXPECT_EQ(resumed.size(), 12U);
  const auto whole = run_eval(*engine_, eval, nullptr);
  ASSERT_EQ(whole.size(), resumed.size());
  for (size_t i = 0; i < whole.size(); ++i) {
    EXPECT_EQ(whole[i].key(), resumed[i].key());
    EXPECT_EQ(whole[i].text, resumed[i].text);
    EXPECT_EQ(whole[i].answer, resumed[i].answer);
  }
  std::filesystem::remove_all(path);
}

TEST_F(NeedleEval, SeedsGiveOtherKeys) {
  start(kSmallModel, KvDtype::kF16);
  EvalOptions eval = options(300, 2, kBudget128);
  const auto first = run_eval(*engine_, eval, nullptr);
  eval.seed = 1;
  const auto second = run_eval(*engine_, eval, nullptr);
  EXPECT_NE(first[0].answer, second[0].answer);
  EXPECT_NE(first[0].answer, first[4].answer);
  EXPECT_EQ(first[0].answer, first[3].answer) << "all settings answer the same sample";
}

TEST_F(NeedleEval, RefusesBadOptions) {
  start(kSmallModel, KvDtype::kF16);
  const EvalOptions good = options(300, 1, kBudget128);
  const auto expect_refused = [&](const EvalOptions& bad, const char* part) {
    try {
      static_cast<void>(run_eval(*engine_, bad, nullptr));
      ADD_FAILURE() << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      EXPECT_THAT(error.what(), HasSubstr(part));
    }
  };
  EvalOptions bad = good;
  bad.tasks = {"haystack"};
  expect_refused(bad, "no task 'haystack'; there is passkey");
  bad = good;
  bad.tasks.clear();
  expect_refused(bad, "needs a task");
  bad = good;
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
