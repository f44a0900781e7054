#include "training/distillation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "backends.h"
#include "kernels/cpu/threads.h"
#include "support/expect_error.h"
#include "support/random.h"
#include "support/tiny_models.h"
#include "training/choose_backend.h"
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
  Student(const test::TinyModel& model, const test::MakeBackend<Real>& make, Loss loss, Chain chain,
          std::optional<DType> dtype = std::nullopt, const Selection& selection = kSelection)
      : files_(io::open_model(test::write_tiny_model(model).string())),
        weights_(model::load_weights(files_, dtype)),
        backend_(make(weights_)),
        distillation_(files_.config, *backend_,
                      {.loss = loss,
                       .chain = chain,
                       .selection = selection,
                       .max_context = kContext + 5,
                       .max_target = kTarget + 2}) {
    cpu::set_num_threads(1);  // more would wait longer than they work
    set_text(model, 9);
  }

  void set_text(const test::TinyModel& model, uint32_t seed) {
    const std::vector<int32_t> tokens = test::random_tokens(model, kContext + kTarget, seed);
    distillation_.set_context(std::span(tokens).first(kContext));
    std::vector<uint8_t> answers(kTarget, 1);
    answers[0] = answers[4] = 0;
    distillation_.set_target(std::span(tokens).last(kTarget), answers);
  }

  [[nodiscard]] double loss(std::span<const double> z) { return distillation_.loss(z); }
  void set_budget(int budget) { distillation_.set_budget(budget); }
  [[nodiscard]] DistillationResult run(std::span<const double> z) { return distillation_.run(z); }
  [[nodiscard]] const io::ModelConfig& config() const { return files_.config; }
  [[nodiscard]] size_t num_gates() const {
    return static_cast<size_t>(int64_t{files_.config.num_layers} * files_.config.num_kv_heads);
  }

 private:
  io::ModelFiles files_;
  model::ModelWeights weights_;
  std::unique_ptr<Backend<Real>> backend_;
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
  Student<double> student(model, test::reference_backend, loss, chain);
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

class LossAloneTest : public testing::TestWithParam<Setting> {};

// Whatever was computed before, and kept.
TEST_P(LossAloneTest, EqualsThatOfAFreshStudent) {
  // A lambda cannot capture structured bindings for clang 16.
  const test::TinyModel& model = std::get<0>(GetParam());
  const Loss loss = std::get<1>(GetParam());
  const Chain chain = std::get<2>(GetParam());
  Student<float> student(model, test::cpu_backend, loss, chain);
  const auto heads = static_cast<size_t>(student.config().num_kv_heads);
  std::vector<double> z(student.num_gates(), 0);
  std::fill_n(z.begin(), heads, 1);
  const auto check = [&](int budget, uint32_t text = 9) {
    Student<float> fresh(model, test::cpu_backend, loss, chain);
    fresh.set_text(model, text);
    fresh.set_budget(budget);
    EXPECT_EQ(student.loss(z), fresh.run(z).loss);
  };
  check(kSelection.budget);
  EXPECT_GT(student.loss(z), 0);
  for (const size_t changed : {z.size() - 1, heads, z.size() - 1 - heads, heads + 1}) {
    z[changed] = 1 - z[changed];
    check(kSelection.budget);
  }
  student.set_budget(kSelection.budget - 4);
  check(kSelection.budget - 4);
  (void)student.run(z);
  check(kSelection.budget - 4);
  student.set_text(model, 10);
  check(kSelection.budget - 4, 10);
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

INSTANTIATE_TEST_SUITE_P(EveryModel, LossAloneTest,
                         testing::Combine(testing::ValuesIn(test::tiny_models().begin(),
                                                            test::tiny_models().end()),
                                          testing::Values(Loss::kHidden, Loss::kLogits, Loss::kKl),
                                          testing::Values(Chain::kInference)),
                         setting_name);

using BackendSetting = std::tuple<test::TinyModel, Loss, Chain, test::FloatBackend>;

std::string backend_setting_name(const testing::TestParamInfo<BackendSetting>& info) {
  const auto& [model, loss, chain, backend] = info.param;
  return backend.name + "_" + std::string(model.name) + "_" + std::string(loss_name(loss)) + "_" +
         std::string(chain_name(chain));
}

auto every_setting(std::vector<test::FloatBackend> backends) {
  return testing::Combine(testing::ValuesIn(test::tiny_models().begin(), test::tiny_models().end()),
                          testing::Values(Loss::kHidden, Loss::kLogits, Loss::kKl),
                          testing::Values(Chain::kInference, Chain::kPublished),
                          testing::ValuesIn(backends));
}

// `loss_tolerance` is relative, `tolerance` a share of the largest gradient.
void expect_close(const DistillationResult& actual, const DistillationResult& expected,
                  double loss_tolerance, double tolerance) {
  EXPECT_NEAR(actual.loss, expected.loss, loss_tolerance * expected.loss);
  double largest = 0;
  for (const double d : expected.d_z) {
    largest = std::max(largest, std::fabs(d));
  }
  ASSERT_EQ(actual.d_z.size(), expected.d_z.size());
  for (size_t i = 0; i < expected.d_z.size(); ++i) {
    EXPECT_NEAR(actual.d_z[i], expected.d_z[i], tolerance * largest) << "gate " << i;
  }
}

class BackendTest : public testing::TestWithParam<BackendSetting> {};

TEST_P(BackendTest, AgreesWithReference) {
  const auto& [model, loss, chain, backend] = GetParam();
  Student<double> reference(model, test::reference_backend, loss, chain);
  Student<float> student(model, backend.make, loss, chain);
  const Draws draws(student.num_gates(), static_cast<size_t>(student.config().num_kv_heads));
  expect_close(student.run(draws.z()), reference.run(draws.z()), 2e-4, 1e-3);
}

TEST_P(BackendTest, SameBitsTwiceWhateverCameBetween) {
  const auto& [model, loss, chain, backend] = GetParam();
  Student<float> student(model, backend.make, loss, chain);
  const Draws draws(student.num_gates(), static_cast<size_t>(student.config().num_kv_heads));
  const DistillationResult first = student.run(draws.z());
  (void)student.run(std::vector<double>(student.num_gates(), 1));
  const DistillationResult second = student.run(draws.z());
  EXPECT_EQ(first.loss, second.loss);
  EXPECT_EQ(first.d_z, second.d_z);
}

TEST_P(BackendTest, OpenGatesAreTheTeacher) {
  const auto& [model, loss, chain, backend] = GetParam();
  Student<float> student(model, backend.make, loss, chain);
  EXPECT_LT(std::fabs(student.run(std::vector<double>(student.num_gates(), 1)).loss), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(EveryModel, BackendTest, every_setting(test::exact_backends()),
                         backend_setting_name);

// In bf16, against the reference over weights rounded to it. All tokens of a set are forced: with
// scores of random weights, rounding would decide who is in.
class RoundedBackendTest : public testing::TestWithParam<std::tuple<test::TinyModel, Loss>> {};

TEST_P(RoundedBackendTest, AgreesWithReference) {
  const auto& [model, loss] = GetParam();
  constexpr Selection kForced = {.budget = 5, .sink = 2, .recent = 3};
  Student<double> reference(model, test::reference_backend, loss, Chain::kInference, DType::kBF16,
                            kForced);
  Student<float> student(model, test::cuda_backend(CudaPrecision::kBF16).make, loss,
                         Chain::kInference, DType::kBF16, kForced);
  const Draws draws(student.num_gates(), static_cast<size_t>(student.config().num_kv_heads));
  // Both factors of a product are off by up to 2^-9, and some twenty products lie one behind the
  // other on the way to a gradient.
  expect_close(student.run(draws.z()), reference.run(draws.z()), 0.05, 0.05);
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(RoundedBackendTest);
INSTANTIATE_TEST_SUITE_P(
    EveryModel, RoundedBackendTest,
    testing::Combine(testing::ValuesIn(cuda_available() ? test::tiny_models()
                                                        : std::span<const test::TinyModel>{}),
                     testing::Values(Loss::kHidden, Loss::kLogits, Loss::kKl)),
    [](const auto& info) {
      return std::string(std::get<0>(info.param).name) + "_" +
             std::string(loss_name(std::get<1>(info.param)));
    });

// What is counted before training is what is taken.
TEST(CudaDemand, IsWhatADistillationTakes) {
  if (!cuda_available()) {
    return;
  }
  const io::ModelFiles files =
      io::open_model(test::write_tiny_model(test::tiny_models().front()).string());
  const model::ModelWeights weights = model::load_weights(files);
  const DistillationOptions options{.selection = kSelection, .max_context = 300, .max_target = 40};
  CudaBackend backend(weights, CudaPrecision::kBF16);
  const Distillation<float> distillation(files.config, backend, options);
  EXPECT_EQ(CudaBackend::demand(files.config, weights, CudaPrecision::kBF16, options),
            backend.device_bytes());
}

TEST(CudaDemand, IsRefusedWithTheLongestContextThatFits) {
  if (!cuda_available()) {
    return;
  }
  const test::TinyModel& model =
      *std::ranges::max_element(test::tiny_models(), {}, &test::TinyModel::num_kv_heads);
  const io::ModelFiles files = io::open_model(test::write_tiny_model(model).string());
  const model::ModelWeights weights = model::load_weights(files);
  // The scores of a layer alone, f32 for each of three heads, row and token, are 192 GB.
  const DistillationOptions options{
      .selection = kSelection, .max_context = 8'000'000, .max_target = 2000};
  test::expect_error(ErrorCode::kOutOfMemory, "contexts of at most ",
                     [&] { (void)make_backend(Device::kCuda, files.config, weights, options); });
}

}  // namespace
}  // namespace lychee::training
