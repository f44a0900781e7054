// The adjoints of the row operations, and losses, on every backend.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/activation/silu_mul_backward.h"
#include "kernels/loss/logit_loss.h"
#include "kernels/norm/rms_norm_backward.h"
#include "support/backends.h"
#include "support/compare.h"
#include "support/device_mirror.h"
#include "support/random.h"

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

void run(int64_t backend, activation::SiluMulBackwardParams<float> p) {
  if (backend != test::kCuda) {
    activation::cpu::silu_mul_backward(p);
    return;
  }
  test::DeviceMirror mirror;
  const int64_t count = p.num_rows * p.stride;
  const bool in_place = p.gate == p.d_gate;
  p.d_gate = mirror.output(p.d_gate, count);
  p.d_up = mirror.output(p.d_up, count);
  p.gate = in_place ? p.d_gate : mirror.input(p.gate, count);
  p.up = in_place ? p.d_up : mirror.input(p.up, count);
  p.dy = mirror.input(p.dy, count);
  activation::cuda::silu_mul_backward(p, mirror.stream());
  mirror.finish();
}

void run(int64_t backend, norm::RmsNormBackwardParams<float> p) {
  if (backend != test::kCuda) {
    norm::cpu::rms_norm_backward(p);
    return;
  }
  test::DeviceMirror mirror;
  const bool in_place = p.dx == p.dy;
  p.dx = mirror.output(p.dx, p.num_rows * p.dx_stride);
  p.dy = in_place ? p.dx : mirror.input(p.dy, p.num_rows * p.dy_stride);
  p.x = mirror.input(p.x, p.num_rows * p.x_stride);
  p.weight = mirror.input(p.weight, p.dim);
  norm::cuda::rms_norm_backward(p, mirror.stream());
  mirror.finish();
}

void run(int64_t backend, bool kl, loss::LogitLossParams<float> p) {
  if (backend != test::kCuda) {
    (kl ? loss::cpu::kl_divergence : loss::cpu::mean_square)(p);
    return;
  }
  test::DeviceMirror mirror;
  p.teacher = mirror.input(p.teacher, p.num_rows * p.vocab_size);
  p.student = mirror.output(p.student, p.num_rows * p.vocab_size);
  p.loss = mirror.output(p.loss, p.num_rows);
  (kl ? loss::cuda::kl_divergence : loss::cuda::mean_square)(p, mirror.stream());
  mirror.finish();
}

class BackwardTest : public testing::TestWithParam<int64_t> {};

TEST_P(BackwardTest, SiluMul) {
  const test::BackendScope scope(GetParam());
  for (const int64_t dim : {1, 7, 16, 61, 129}) {
    constexpr int64_t kRows = 3;
    test::Random random;
    std::vector<float> gate = random.normals(kRows * dim, 3);
    gate[0] = -200;  // exp overflows
    const std::vector<float> up = random.normals(kRows * dim);
    const std::vector<float> dy = random.normals(kRows * dim);
    std::vector<float> d_gate(gate.size(), std::numeric_limits<float>::quiet_NaN());
    std::vector<float> d_up = d_gate;
    run(GetParam(),
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
    run(GetParam(), {kRows, dim, dim, gate_in_place.data(), up_in_place.data(), dy.data(),
                     gate_in_place.data(), up_in_place.data()});
    EXPECT_EQ(gate_in_place, d_gate);
    EXPECT_EQ(up_in_place, d_up);
  }
}

TEST_P(BackwardTest, RmsNorm) {
  const test::BackendScope scope(GetParam());
  for (const int64_t dim : {1, 16, 61, 300, 4096}) {
    constexpr int64_t kRows = 5;
    test::Random random;
    const std::vector<float> x = random.normals(kRows * dim);
    const std::vector<float> weight = random.normals(dim);
    const std::vector<float> dy = random.normals(kRows * dim);
    std::vector<float> dx = random.normals(kRows * dim);
    std::vector<double> wide_dx = widen(dx);
    const auto [wide_x, wide_dy] = std::tuple(widen(x), widen(dy));
    run(GetParam(),
        {kRows, dim, x.data(), dim, weight.data(), 1e-5F, dy.data(), dim, dx.data(), dim, true});
    norm::reference::rms_norm_backward({kRows, dim, wide_x.data(), dim, weight.data(), 1e-5F,
                                        wide_dy.data(), dim, wide_dx.data(), dim, true});
    double largest = 1;
    for (const double value : wide_dx) {
      largest = std::max(largest, std::fabs(value));
    }
    expect_close(dx, wide_dx, 2e-5 * largest);
    // In place, as training uses it for the norms of heads.
    std::vector<float> apart(dx.size(), std::numeric_limits<float>::quiet_NaN());
    std::vector<float> in_place = dy;
    run(GetParam(), {kRows, dim, x.data(), dim, weight.data(), 1e-5F, dy.data(), dim, apart.data(),
                     dim, false});
    run(GetParam(), {kRows, dim, x.data(), dim, weight.data(), 1e-5F, in_place.data(), dim,
                     in_place.data(), dim, false});
    EXPECT_EQ(in_place, apart);
  }
}

TEST_P(BackwardTest, LossesOfKnownValues) {
  // Uniform teacher over two, student with odds 3 to 1: KL = ln(2) - ln(3)/2 … in closed form
  // ½ ln(½ / ¾) + ½ ln(½ / ¼).
  const std::vector<float> teacher = {0, 0};
  std::vector<float> student = {std::log(3.0F), 0};
  double loss = std::numeric_limits<double>::quiet_NaN();
  run(GetParam(), true, {1, 2, teacher.data(), student.data(), 2, &loss});
  EXPECT_NEAR(loss, 0.5 * std::log(0.5 / 0.75) + 0.5 * std::log(0.5 / 0.25), 1e-6);
  EXPECT_NEAR(student[0], 2 * 0.25, 1e-6);
  EXPECT_NEAR(student[1], -2 * 0.25, 1e-6);
  student = {3, 1};
  run(GetParam(), false, {1, 2, teacher.data(), student.data(), 1, &loss});
  EXPECT_NEAR(loss, 5, 1e-6);
  EXPECT_NEAR(student[0], 3, 1e-6);
}

TEST_P(BackwardTest, Losses) {
  constexpr int64_t kRows = 3;
  for (const int64_t vocab : {64, 301, 5003}) {
    test::Random random;
    const std::vector<float> teacher = random.normals(kRows * vocab, 4);
    const std::vector<float> start = random.normals(kRows * vocab, 4);
    const std::vector<double> wide_teacher = widen(teacher);
    for (const bool kl : {true, false}) {
      std::vector<float> student = start;
      std::vector<double> wide_student = widen(start);
      std::vector<double> losses(kRows, std::numeric_limits<double>::quiet_NaN());
      std::vector<double> wide_losses(kRows);
      run(GetParam(), kl, {kRows, vocab, teacher.data(), student.data(), 0.5, losses.data()});
      (kl ? loss::reference::kl_divergence : loss::reference::mean_square)(
          {kRows, vocab, wide_teacher.data(), wide_student.data(), 0.5, wide_losses.data()});
      for (size_t r = 0; r < kRows; ++r) {
        EXPECT_NEAR(losses[r], wide_losses[r], 1e-5 * std::max(wide_losses[r], 0.1));
      }
      expect_close(student, wide_student, 1e-6);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryBackend, BackwardTest, testing::ValuesIn(test::backends()),
                         [](const auto& info) { return test::backend_name(info.param); });

}  // namespace
}  // namespace lychee
