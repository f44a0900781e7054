// The adjoints of the row operations, on every instruction set.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/activation/silu_mul_backward.h"
#include "kernels/loss/logit_loss.h"
#include "kernels/norm/rms_norm_backward.h"
#include "support/compare.h"
#include "support/random.h"
#include "support/simd_targets.h"

namespace lychee {
namespace {

std::vector<double> widen(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

void expect_close(const std::vector<float>& actual, const std::vector<double>& expected,
                  double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_LE(test::absolute_error(double{actual[i]}, expected[i]), tolerance) << i;
  }
}

class BackwardTest : public testing::TestWithParam<int64_t> {};

TEST_P(BackwardTest, SiluMul) {
  const test::SimdTargetScope scope(GetParam());
  for (const int64_t dim : {1, 7, 16, 61, 129}) {
    constexpr int64_t kRows = 3;
    test::Random random;
    std::vector<float> gate = random.normals(kRows * dim, 3);
    gate[0] = -200;  // exp overflows
    const std::vector<float> up = random.normals(kRows * dim);
    const std::vector<float> dy = random.normals(kRows * dim);
    std::vector<float> d_gate(gate.size(), std::numeric_limits<float>::quiet_NaN());
    std::vector<float> d_up = d_gate;
    activation::cpu::silu_mul_backward(
        {kRows, dim, dim, gate.data(), up.data(), dy.data(), d_gate.data(), d_up.data()});
    const auto [wide_gate, wide_up, wide_dy] = std::tuple(widen(gate), widen(up), widen(dy));
    std::vector<double> wide_d_gate(gate.size());
    std::vector<double> wide_d_up(gate.size());
    activation::reference::silu_mul_backward({kRows, dim, dim, wide_gate.data(), wide_up.data(),
                                              wide_dy.data(), wide_d_gate.data(),
                                              wide_d_up.data()});
    expect_close(d_gate, wide_d_gate, 1e-5);
    expect_close(d_up, wide_d_up, 1e-5);
    // In place, as training uses it.
    std::vector<float> gate_in_place = gate;
    std::vector<float> up_in_place = up;
    activation::cpu::silu_mul_backward({kRows, dim, dim, gate_in_place.data(), up_in_place.data(),
                                        dy.data(), gate_in_place.data(), up_in_place.data()});
    EXPECT_EQ(gate_in_place, d_gate);
    EXPECT_EQ(up_in_place, d_up);
  }
}

TEST_P(BackwardTest, RmsNorm) {
  const test::SimdTargetScope scope(GetParam());
  for (const int64_t dim : {1, 16, 61}) {
    constexpr int64_t kRows = 5;
    test::Random random;
    const std::vector<float> x = random.normals(kRows * dim);
    const std::vector<float> weight = random.normals(dim);
    const std::vector<float> dy = random.normals(kRows * dim);
    std::vector<float> dx = random.normals(kRows * dim);
    std::vector<double> wide_dx = widen(dx);
    const auto [wide_x, wide_dy] = std::tuple(widen(x), widen(dy));
    norm::cpu::rms_norm_backward(
        {kRows, dim, x.data(), dim, weight.data(), 1e-5F, dy.data(), dim, dx.data(), dim, true});
    norm::reference::rms_norm_backward({kRows, dim, wide_x.data(), dim, weight.data(), 1e-5F,
                                        wide_dy.data(), dim, wide_dx.data(), dim, true});
    double largest = 1;
    for (const double value : wide_dx) {
      largest = std::max(largest, std::fabs(value));
    }
    expect_close(dx, wide_dx, 2e-5 * largest);
  }
}

INSTANTIATE_TEST_SUITE_P(EveryTarget, BackwardTest, testing::ValuesIn(test::simd_targets()),
                         [](const auto& info) { return test::simd_target_name(info.param); });

TEST(LogitLoss, KnownValues) {
  // Uniform teacher over two, student with odds 3 to 1: KL = ln(2) - ln(3)/2 … in closed form
  // ½ ln(½ / ¾) + ½ ln(½ / ¼).
  const std::vector<float> teacher = {0, 0};
  std::vector<float> student = {std::log(3.0F), 0};
  double loss = std::numeric_limits<double>::quiet_NaN();
  loss::cpu::kl_divergence({1, 2, teacher.data(), student.data(), 2, &loss});
  EXPECT_NEAR(loss, 0.5 * std::log(0.5 / 0.75) + 0.5 * std::log(0.5 / 0.25), 1e-6);
  EXPECT_NEAR(student[0], 2 * 0.25, 1e-6);
  EXPECT_NEAR(student[1], -2 * 0.25, 1e-6);
  student = {3, 1};
  loss::cpu::mean_square({1, 2, teacher.data(), student.data(), 1, &loss});
  EXPECT_NEAR(loss, 5, 1e-6);
  EXPECT_NEAR(student[0], 3, 1e-6);
}

TEST(LogitLoss, MatchesReference) {
  constexpr int64_t kRows = 3;
  constexpr int64_t kVocab = 301;
  test::Random random;
  const std::vector<float> teacher = random.normals(kRows * kVocab, 4);
  const std::vector<float> start = random.normals(kRows * kVocab, 4);
  const std::vector<double> wide_teacher = widen(teacher);
  for (const bool kl : {true, false}) {
    std::vector<float> student = start;
    std::vector<double> wide_student = widen(start);
    std::vector<double> losses(kRows);
    std::vector<double> wide_losses(kRows);
    (kl ? loss::cpu::kl_divergence : loss::cpu::mean_square)(
        {kRows, kVocab, teacher.data(), student.data(), 0.5, losses.data()});
    (kl ? loss::reference::kl_divergence : loss::reference::mean_square)(
        {kRows, kVocab, wide_teacher.data(), wide_student.data(), 0.5, wide_losses.data()});
    for (size_t r = 0; r < kRows; ++r) {
      EXPECT_NEAR(losses[r], wide_losses[r], 1e-5 * wide_losses[r]);
    }
    expect_close(student, wide_student, 1e-6);
  }
}

}  // namespace
}  // namespace lychee
