#include "training/plan_refiner.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "backends.h"
#include "io/needle/builtin_needle.h"
#include "needle_run.h"
#include "support/expect_error.h"
#include "training/checkpoint.h"

namespace lychee::training {
namespace {

constexpr const char* kModel = "builtin:needle";
constexpr RefinerOptions kOptions = {.rounds = 6, .samples = 3};

// A refiner on the built-in model, whose retrieval head is known.
class Refinement {
 public:
  explicit Refinement(const std::string& model = kModel, const RefinerOptions& options = kOptions,
                      const test::MakeBackend<float>& make = test::cpu_backend)
      : run_(model, make, {.steps = 0}),
        refiner_(run_.config(), run_.distillation(), run_.data(), options) {}

  PlanRefiner<float>& refiner() { return refiner_; }
  void finish() {
    while (!refiner_.done()) {
      refiner_.step();
    }
  }

 private:
  test::NeedleRun<float> run_;
  PlanRefiner<float> refiner_;
};

class MendedPlanTest : public testing::TestWithParam<std::tuple<const char*, test::FloatBackend>> {
};

TEST_P(MendedPlanTest, AWrongPlanIsMended) {
  const auto& [model, backend] = GetParam();
  Refinement refinement(model, kOptions, backend.make);
  refinement.refiner().begin(io::builtin_needle_swapped_plan(model));
  refinement.finish();
  EXPECT_TRUE(refinement.refiner().plan() == io::builtin_needle_plan(model));
  const RefinerState& state = refinement.refiner().state();
  ASSERT_EQ(state.swaps.size(), 1U);
  EXPECT_EQ(state.swaps[0].round, 0);
  EXPECT_EQ(state.rounds[0].num_swapped, 1);
  EXPECT_NEAR(state.rounds[0].before, 1, 1e-12);
  EXPECT_LT(state.objective, 0.01);
}

INSTANTIATE_TEST_SUITE_P(
    Needle, MendedPlanTest,
    testing::Combine(testing::Values("builtin:needle",
                                     "builtin:needle?layers=7&layer=5&head=0&distractors=5"),
                     testing::ValuesIn(test::user_backends())),
    [](const auto& info) {
      return std::get<1>(info.param).name + "_" + std::to_string(info.index);
    });

TEST(PlanRefiner, TheObjectiveNeverRisesAndNumbersStay) {
  for (const uint64_t seed : {1U, 2U, 3U}) {
    Refinement refinement;
    const HeadPlan plan = HeadPlan::random(6, 4, 9, seed);
    refinement.refiner().begin(plan);
    refinement.finish();
    const RefinerState& state = refinement.refiner().state();
    EXPECT_EQ(refinement.refiner().plan().num_retrieval(), 9);
    ASSERT_GE(state.rounds.size(), 2U);
    for (size_t i = 0; i < state.rounds.size(); ++i) {
      EXPECT_EQ(state.rounds[i].after<state.rounds[i].before, state.rounds[i].num_swapped> 0);
      EXPECT_LE(state.rounds[i].after, state.rounds[i].before);
      if (i > 0) {  // a survey finds for the plan what the trial before had found
        EXPECT_EQ(state.rounds[i].before, state.rounds[i - 1].after);
      }
    }
    EXPECT_EQ(state.objective, state.rounds.back().after);
    EXPECT_LE(refinement.refiner().steps(), refinement.refiner().max_steps());
  }
}

TEST(PlanRefiner, ResumedAfterAnySampleItEqualsAnUninterruptedOne) {
  const HeadPlan plan = HeadPlan::random(6, 4, 7, 5);
  Refinement whole;
  whole.refiner().begin(plan);
  whole.finish();
  const std::string expected = encode_checkpoint({{}, whole.refiner().state()}, "options");
  for (int64_t stop = 1; stop < whole.refiner().steps(); ++stop) {
    Refinement first;
    first.refiner().begin(plan);
    for (int64_t i = 0; i < stop; ++i) {
      first.refiner().step();
    }
    const std::string checkpoint = encode_checkpoint({{}, first.refiner().state()}, "options");
    Refinement second;
    second.refiner().set_state(decode_checkpoint(checkpoint, "options", "f").refinement);
    EXPECT_EQ(second.refiner().steps(), stop);
    second.finish();
    EXPECT_EQ(encode_checkpoint({{}, second.refiner().state()}, "options"), expected);
  }
}

TEST(PlanRefiner, PlansWithNothingToSwapStay) {
  for (const HeadPlan& plan : {HeadPlan(6, 4), HeadPlan::uniform(6, 4, 24)}) {
    Refinement refinement;
    refinement.refiner().begin(plan);
    refinement.finish();
    EXPECT_TRUE(refinement.refiner().plan() == plan);
    EXPECT_EQ(refinement.refiner().state().rounds.size(), 1U);
  }
}

TEST(PlanRefiner, EndsAfterItsRounds) {
  Refinement refinement(kModel, {.rounds = 1, .samples = 1});
  refinement.refiner().begin(HeadPlan::random(6, 4, 9, 1));
  refinement.finish();
  EXPECT_EQ(refinement.refiner().state().rounds.size(), 1U);
  EXPECT_EQ(refinement.refiner().steps(), refinement.refiner().max_steps());
}

TEST(PlanRefiner, HeadsAreNamedByLayerAndHead) {
  EXPECT_EQ(head_name(23, 3), "7.2");
}

// Its losses are not finite.
class PoisonedBackend : public CpuBackend {
 public:
  using CpuBackend::CpuBackend;
  void kl_divergence(const loss::LogitLossParams<float>& p) override {
    CpuBackend::kl_divergence(p);
    p.loss[0] = std::numeric_limits<double>::quiet_NaN();
  }
};

TEST(PlanRefiner, ALossThatIsNotFiniteEndsIt) {
  Refinement refinement(kModel, {.rounds = 1, .samples = 1},
                        [](const model::ModelWeights& weights) -> std::unique_ptr<Backend<float>> {
                          return std::make_unique<PoisonedBackend>(weights);
                        });
  refinement.refiner().begin(HeadPlan::random(6, 4, 9, 1));
  test::expect_error(ErrorCode::kInternal, "not finite", [&] { refinement.refiner().step(); });
}

TEST(PlanRefiner, TooFewSamplesAreRefused) {
  test::expect_error(ErrorCode::kInvalidArgument, "--refine-samples",
                     [] { Refinement(kModel, {.rounds = 1, .samples = 0}); });
}

}  // namespace
}  // namespace lychee::training
