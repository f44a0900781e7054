#include "training/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "backends.h"
#include "io/needle/builtin_needle.h"
#include "needle_run.h"
#include "support/expect_error.h"
#include "training/checkpoint.h"

namespace lychee::training {
namespace {

using test::NeedleRun;

constexpr int kMaxSteps = 60;

TrainerOptions options_for(const std::string& model, uint64_t seed) {
  const io::ModelConfig config = io::open_model(model).config;
  const int num_retrieval = config.num_kv_heads + 1;
  return {.steps = kMaxSteps,
          .learning_rate = 0.05,
          .target_density = density_for(num_retrieval, config.num_layers, config.num_kv_heads),
          .num_retrieval = num_retrieval,
          .seed = seed};
}

class GroundTruthTest
    : public testing::TestWithParam<std::tuple<const char*, uint64_t, test::FloatBackend>> {};

TEST_P(GroundTruthTest, TrainingFindsTheCircuit) {
  const auto& [model, seed, backend] = GetParam();
  NeedleRun<float> run(model, backend.make, options_for(model, seed));
  run.finish();
  const HeadPlan truth = io::builtin_needle_plan(model);
  EXPECT_TRUE(run.trainer().plan() == truth);
  EXPECT_EQ(run.trainer().state().skipped, 0);
}

INSTANTIATE_TEST_SUITE_P(
    Needle, GroundTruthTest,
    testing::Combine(testing::Values("builtin:needle", "builtin:needle?layer=2&head=3",
                                     "builtin:needle?layers=7&layer=5&head=0&distractors=5"),
                     testing::Values(1, 2), testing::ValuesIn(test::user_backends())),
    [](const auto& info) {
      return std::get<2>(info.param).name + "_" + std::to_string(info.index);
    });

TEST(Trainer, RunsOnTheReferenceInDouble) {
  TrainerOptions options = options_for("builtin:needle", 1);
  options.steps = 2;
  NeedleRun<double> reference("builtin:needle", test::reference_backend, options);
  reference.finish();
  const double expected_loss = reference.trainer().state().history[1].loss;
  const std::vector<double> expected = reference.trainer().scores();
  for (const test::FloatBackend& backend : test::exact_backends()) {
    SCOPED_TRACE(backend.name);
    NeedleRun<float> run("builtin:needle", backend.make, options);
    run.finish();
    EXPECT_NEAR(run.trainer().state().history[1].loss, expected_loss, 1e-3 * expected_loss);
    const std::vector<double> actual = run.trainer().scores();
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_NEAR(actual[i], expected[i], 1e-3);
    }
  }
}

class ResumeTest : public testing::TestWithParam<test::FloatBackend> {};

TEST_P(ResumeTest, EqualsAnUninterruptedRun) {
  TrainerOptions options = options_for("builtin:needle", 4);
  options.steps = 9;
  options.context_reuse = 2;  // 5 steps end in the middle of a context
  options.budgets = {48, 24};
  NeedleRun<float> whole("builtin:needle", GetParam().make, options);
  whole.finish();
  std::string checkpoint;
  {
    NeedleRun<float> first("builtin:needle", GetParam().make, options);
    for (int i = 0; i < 5; ++i) {
      (void)first.trainer().step();
    }
    checkpoint = encode_checkpoint({first.trainer().state(), {}}, "options");
  }
  NeedleRun<float> second("builtin:needle", GetParam().make, options);
  second.trainer().set_state(decode_checkpoint(checkpoint, "options", "checkpoint.bin").training);
  second.finish();
  EXPECT_EQ(encode_checkpoint({second.trainer().state(), {}}, "options"),
            encode_checkpoint({whole.trainer().state(), {}}, "options"));
}

INSTANTIATE_TEST_SUITE_P(EveryBackend, ResumeTest, testing::ValuesIn(test::user_backends()),
                         [](const auto& info) { return info.param.name; });

TEST(Trainer, BudgetsTakeTurnsFromSampleToSample) {
  const auto losses = [](std::vector<int> budgets) {
    TrainerOptions options = options_for("builtin:needle", 4);
    options.steps = 4;
    options.learning_rate = 0;  // the steps differ by their samples alone
    options.context_reuse = 2;
    options.budgets = std::move(budgets);
    NeedleRun<float> run("builtin:needle", test::cpu_backend, options);
    run.finish();
    std::vector<double> losses;
    for (const StepRecord& record : run.trainer().state().history) {
      losses.push_back(record.loss);
    }
    return losses;
  };
  const std::vector<double> wide = losses({48});
  const std::vector<double> narrow = losses({20});
  EXPECT_NE(wide[1], narrow[1]);
  EXPECT_NE(wide[2], narrow[2]);
  EXPECT_EQ(losses({}), wide);
  EXPECT_THAT(losses({48, 20}), testing::ElementsAre(wide[0], wide[1], narrow[2], narrow[3]));
}

TEST(Trainer, CheckpointsThatAreNotWholeAreRefused) {
  TrainerOptions options = options_for("builtin:needle", 4);
  options.steps = 1;
  NeedleRun<float> run("builtin:needle", test::cpu_backend, options);
  run.finish();
  const std::string good = encode_checkpoint({run.trainer().state(), {}}, "a");
  EXPECT_EQ(decode_checkpoint(good, "a", "f").training.step, 1);
  test::expect_error(ErrorCode::kInvalidArgument, "other options",
                     [&] { (void)decode_checkpoint(good, "b", "f"); });
  test::expect_error(ErrorCode::kInvalidArgument, "damaged",
                     [&] { (void)decode_checkpoint(good.substr(0, good.size() - 1), "a", "f"); });
  test::expect_error(ErrorCode::kInvalidArgument, "no checkpoint",
                     [&] { (void)decode_checkpoint("nonsense", "a", "f"); });
  std::string earlier = good;
  earlier.replace(earlier.find('2'), 1, "1");
  test::expect_error(ErrorCode::kInvalidArgument, "another version",
                     [&] { (void)decode_checkpoint(earlier, "a", "f"); });
}

// Spoils the gradient of the loss.
class PoisonedBackend : public CpuBackend {
 public:
  using CpuBackend::CpuBackend;
  void kl_divergence(const loss::LogitLossParams<float>& p) override {
    CpuBackend::kl_divergence(p);
    p.student[0] = std::numeric_limits<float>::quiet_NaN();
  }
};

std::unique_ptr<Backend<float>> poisoned_backend(const model::ModelWeights& weights) {
  return std::make_unique<PoisonedBackend>(weights);
}

TEST(Trainer, StepsThatAreNotFiniteAreSkippedAndThreeStopTheRun) {
  TrainerOptions options = options_for("builtin:needle", 4);
  NeedleRun<float> run("builtin:needle", poisoned_backend, options);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(run.trainer().step().skipped, 1);
    EXPECT_NE(run.trainer().skip_reason().find("layer 1, KV head 0"), std::string::npos);
  }
  EXPECT_EQ(run.trainer().state().skipped, 2);
  EXPECT_EQ(run.trainer().state().updates, 0);
  for (const GateParams& params : run.trainer().state().params) {
    EXPECT_EQ(params, (GateParams{1, 1}));
  }
  test::expect_error(ErrorCode::kInternal, "training stopped", [&] { (void)run.trainer().step(); });
}

TEST(Trainer, TrapezoidRisesStaysAndFalls) {
  EXPECT_DOUBLE_EQ(trapezoid(0, 100), 0.1);
  EXPECT_DOUBLE_EQ(trapezoid(10, 100), 0.55);
  EXPECT_DOUBLE_EQ(trapezoid(20, 100), 1);
  EXPECT_DOUBLE_EQ(trapezoid(80, 100), 1);
  EXPECT_DOUBLE_EQ(trapezoid(90, 100), 0.55);
}

TEST(Trainer, DensityOfTheInitialGatesAndItsConstraint) {
  TrainerOptions options = options_for("builtin:needle", 4);
  options.steps = 1;
  NeedleRun<float> run("builtin:needle", test::cpu_backend, options);
  const StepRecord record = run.trainer().step();
  // 5 of 6 layers have gates, each open with probability 11/12.
  EXPECT_NEAR(record.density, 5.0 / 6 * 11 / 12, 1e-12);
  EXPECT_EQ(record.lambda, 2);
  // m = 0.1 ĉ, λ = 2 exp(0.001 m)
  const double violation = record.density - options.target_density;
  EXPECT_NEAR(run.trainer().state().lambda, 2 * std::exp(0.001 * 0.1 * violation), 1e-12);
}

TEST(Trainer, ImpossibleTargetsAreRefused) {
  test::expect_error(ErrorCode::kInvalidArgument, "3 retrieval",
                     [] { (void)density_for(3, 6, 4); });
  test::expect_error(ErrorCode::kInvalidArgument, "4", [] { (void)density_for(25, 6, 4); });
  EXPECT_NEAR(density_for(32, 32, 8), 24.0 / 256, 1e-15);
  TrainerOptions options = options_for("builtin:needle", 4);
  options.target_density = 0.9;
  test::expect_error(ErrorCode::kInvalidArgument, "impossible",
                     [&] { NeedleRun<float>("builtin:needle", test::cpu_backend, options); });
}

}  // namespace
}  // namespace lychee::training
