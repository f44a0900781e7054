#include "training/distillation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/cpu/threads.h"
#include "reference_kernels.h"
#include "support/random.h"
#include "support/tiny_models.h"
#include "training/hard_kuma.h"

namespace lychee::training {
namespace {

constexpr int64_t kContext = 37;
constexpr int64_t kTarget = 11;
constexpr Selection kSelection = {.budget = 12, .sink = 2, .recent = 3};

// A model with one context and target, seen by one backend.
template <typename Real>
class Student {
 public:
  Student(const test::TinyModel& model, const Kernels<Real>& kernels, Loss loss, Chain chain)
      : files_(io::open_model(test::write_tiny_model(model).string())),
        weights_(model::load_weights(files_)),
        kernels_(kernels),
        distillation_(files_.config, weights_, kernels_,
                      {.loss = loss,
                       .chain = chain,
                       .selection = kSelection,
                       .max_context = kContext + 5,
                       .max_target = kTarget + 2}) {
    cpu::set_num_threads(1);  // more would wait longer than they work
    const std::vector<int32_t> tokens = test::random_tokens(model, kContext + kTarget, 9);
    distillation_.set_context(std::span(tokens).first(kContext));
    std::vector<uint8_t> answers(kTarget, 1);
    answers[0] = answers[4] = 0;
    distillation_.set_target(std::span(tokens).last(kTarget), answers);
  }

  [[nodiscard]] DistillationResult run(std::span<const double> z) { return distillation_.run(z); }
  [[nodiscard]] const io::ModelConfig& config() const { return files_.config; }
  [[nodiscard]] size_t num_gates() const {
    return static_cast<size_t>(files_.config.num_layers * files_.config.num_kv_heads);
  }

 private:
  io::ModelFiles files_;
  model::ModelWeights weights_;
  Kernels<Real> kernels_;
  Distillation<Real> distillation_;
};

// Gates with fixed draws. Some are clipped; none is near a clip point or z = 0.5, so that
// differences change no decision.
class Draws {
 public:
  Draws(size_t count, size_t first_layer) : kumas_(count), uniforms_(count), first_(first_layer) {
    test::Random random(11);
    for (size_t i = 0; i < count; ++i) {
      do {
        kumas_[i] = {double{random.uniform(0.6F, 1.8F)}, double{random.uniform(0.6F, 1.8F)}};
        uniforms_[i] = double{random.uniform(0.02F, 0.98F)};
      } while (std::fabs(stretched(i) - 0.5) < 0.05 || std::fabs(stretched(i)) < 0.02 ||
               std::fabs(stretched(i) - 1) < 0.02);
    }
  }
  [[nodiscard]] std::vector<double> z() const {
    std::vector<double> z(kumas_.size(), 1);
    for (size_t i = first_; i < z.size(); ++i) {
      z[i] = hard_kuma_sample(kumas_[i], uniforms_[i]).value;
    }
    return z;
  }
  [[nodiscard]] std::array<double, 2> slope(size_t i) const {
    return hard_kuma_sample(kumas_[i], uniforms_[i]).gradient;
  }
  double& param(size_t i, size_t which) { return which == 0 ? kumas_[i].alpha : kumas_[i].beta; }

 private:
  [[nodiscard]] double stretched(size_t i) const {
    return -0.1 + 1.2 * kuma_sample(kumas_[i], uniforms_[i]).value;
  }
  std::vector<HardKuma> kumas_;
  std::vector<double> uniforms_;
  size_t first_;
};

using Setting = std::tuple<test::TinyModel, Loss, Chain>;

class GradientTest : public testing::TestWithParam<Setting> {};

TEST_P(GradientTest, OfGateParametersMatchDifferences) {
  const auto& [model, loss, chain] = GetParam();
  Student<double> student(model, test::reference_kernels(), loss, chain);
  const auto heads = static_cast<size_t>(student.config().num_kv_heads);
  Draws draws(student.num_gates(), heads);
  const DistillationResult result = student.run(draws.z());
  EXPECT_GT(result.loss, 0);
  double largest = 0;
  for (size_t i = heads; i < student.num_gates(); ++i) {
    const auto slope = draws.slope(i);
    largest = std::max(
        {largest, std::fabs(result.d_z[i] * slope[0]), std::fabs(result.d_z[i] * slope[1])});
  }
  ASSERT_GT(largest, 0);
  constexpr double kStep = 1e-5;
  for (size_t i = heads; i < student.num_gates(); ++i) {
    for (size_t which = 0; which < 2; ++which) {
      double& param = draws.param(i, which);
      const double analytic = result.d_z[i] * draws.slope(i)[which];
      param += kStep;
      const double up = student.run(draws.z()).loss;
      param -= 2 * kStep;
      const double down = student.run(draws.z()).loss;
      param += kStep;
      const double numeric = (up - down) / (2 * kStep);
      // Relative, but for gradients of less than a thousandth of the largest.
      EXPECT_LE(std::fabs(analytic - numeric), 1e-5 * std::max(std::fabs(numeric), 1e-3 * largest))
          << "gate " << i << " parameter " << which << ": " << analytic << " against " << numeric;
    }
  }
}

std::string setting_name(const testing::TestParamInfo<Setting>& info) {
  const auto& [model, loss, chain] = info.param;
  return std::string(model.name) + "_" + std::string(loss_name(loss)) + "_" +
         std::string(chain_name(chain));
}

INSTANTIATE_TEST_SUITE_P(EveryModel, GradientTest,
                         testing::Combine(testing::ValuesIn(test::tiny_models().begin(),
                                                            test::tiny_models().end()),
                                          testing::Values(Loss::kHidden, Loss::kLogits, Loss::kKl),
                                          testing::Values(Chain::kInference, Chain::kPublished)),
                         setting_name);

class BackendTest : public testing::TestWithParam<Setting> {};

TEST_P(BackendTest, CpuAgreesWithReference) {
  const auto& [model, loss, chain] = GetParam();
  Student<double> reference(model, test::reference_kernels(), loss, chain);
  Student<float> cpu(model, cpu_kernels(), loss, chain);
  const Draws draws(cpu.num_gates(), static_cast<size_t>(cpu.config().num_kv_heads));
  const DistillationResult actual = cpu.run(draws.z());
  const DistillationResult expected = reference.run(draws.z());
  EXPECT_NEAR(actual.loss, expected.loss, 2e-4 * expected.loss);
  double largest = 0;
  for (const double d : expected.d_z) {
    largest = std::max(largest, std::fabs(d));
  }
  for (size_t i = 0; i < expected.d_z.size(); ++i) {
    EXPECT_NEAR(actual.d_z[i], expected.d_z[i], 1e-3 * largest) << "gate " << i;
  }
}

TEST_P(BackendTest, SameBitsTwiceWhateverCameBetween) {
  const auto& [model, loss, chain] = GetParam();
  Student<float> student(model, cpu_kernels(), loss, chain);
  const Draws draws(student.num_gates(), static_cast<size_t>(student.config().num_kv_heads));
  const DistillationResult first = student.run(draws.z());
  (void)student.run(std::vector<double>(student.num_gates(), 1));
  const DistillationResult second = student.run(draws.z());
  EXPECT_EQ(first.loss, second.loss);
  EXPECT_EQ(first.d_z, second.d_z);
}

TEST_P(BackendTest, OpenGatesAreTheTeacher) {
  const auto& [model, loss, chain] = GetParam();
  Student<float> student(model, cpu_kernels(), loss, chain);
  EXPECT_LT(std::fabs(student.run(std::vector<double>(student.num_gates(), 1)).loss), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(EveryModel, BackendTest,
                         testing::Combine(testing::ValuesIn(test::tiny_models().begin(),
                                                            test::tiny_models().end()),
                                          testing::Values(Loss::kHidden, Loss::kLogits, Loss::kKl),
                                          testing::Values(Chain::kInference, Chain::kPublished)),
                         setting_name);

}  // namespace
}  // namespace lychee::training
