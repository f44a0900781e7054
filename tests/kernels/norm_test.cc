#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "kernels/norm/rms_norm.h"
#include "support/backends.h"
#include "support/compare.h"
#include "support/device_mirror.h"
#include "support/random.h"

namespace lychee::norm {
namespace {

struct Case {
  const char* name;
  int64_t num_rows, dim, x_padding, y_padding;
  float scale;
};

constexpr Case kCases[] = {
    {"one_value", 1, 1, 0, 0, 1},
    {"fewer_than_a_vector", 3, 7, 2, 1, 1},
    {"odd", 5, 61, 0, 3, 1},
    {"smollm", 1, 576, 0, 0, 1},
    {"head", 11, 128, 0, 4, 1},
    {"longest_of_a_warp", 9, 256, 0, 0, 1},
    {"many_rows", 200, 576, 64, 0, 1},
    {"tiny_values", 3, 129, 0, 0, 1e-18F},
    {"large_values", 3, 129, 0, 0, 1e15F},
};

struct Inputs {
  std::vector<float> x, weight, y;
  RmsNormParams params;

  explicit Inputs(const Case& c) {
    test::Random random;
    x = random.normals(c.num_rows * (c.dim + c.x_padding), c.scale);
    weight = random.normals(c.dim);
    y.assign(static_cast<size_t>(c.num_rows * (c.dim + c.y_padding)), std::nanf(""));
    params = {c.num_rows,    c.dim, x.data(), c.dim + c.x_padding,
              weight.data(), 1e-5F, y.data(), c.dim + c.y_padding};
  }
  [[nodiscard]] std::vector<float> rows() const {
    std::vector<float> values;
    for (int64_t r = 0; r < params.num_rows; ++r) {
      values.insert(values.end(), y.begin() + r * params.y_stride,
                    y.begin() + r * params.y_stride + params.dim);
    }
    return values;
  }
};

std::vector<float> plain(const RmsNormParams& p) {
  std::vector<float> result;
  for (int64_t r = 0; r < p.num_rows; ++r) {
    const float* x = p.x + r * p.x_stride;
    float sum = 0;
    for (int64_t i = 0; i < p.dim; ++i) {
      sum += x[i] * x[i];
    }
    const float scale = 1 / std::sqrt(sum / static_cast<float>(p.dim) + p.eps);
    for (int64_t i = 0; i < p.dim; ++i) {
      result.push_back(x[i] * scale * p.weight[i]);
    }
  }
  return result;
}

void run(int64_t backend, RmsNormParams p) {
  if (backend != test::kCuda) {
    cpu::rms_norm(p);
    return;
  }
  test::DeviceMirror mirror;
  const int64_t y_count = (p.num_rows - 1) * p.y_stride + p.dim;
  const bool in_place = p.x == p.y;
  p.y = mirror.output(p.y, y_count);
  p.x = in_place ? p.y : mirror.input(p.x, (p.num_rows - 1) * p.x_stride + p.dim);
  p.weight = mirror.input(p.weight, p.dim);
  cuda::rms_norm(p, mirror.stream());
  mirror.finish();
}

class RmsNormTest : public testing::TestWithParam<std::tuple<int64_t, Case>> {};

TEST_P(RmsNormTest, MatchesReference) {
  const auto& [backend, c] = GetParam();
  const test::BackendScope scope(backend);
  Inputs actual(c);
  Inputs expected(c);
  run(backend, actual.params);
  reference::rms_norm(expected.params);
  EXPECT_TRUE(test::as_good_as_plain(actual.rows(), plain(expected.params), expected.rows(), 1e-6));
  for (int64_t r = 0; r < c.num_rows; ++r) {
    for (int64_t i = c.dim; i < c.dim + c.y_padding; ++i) {
      EXPECT_TRUE(std::isnan(actual.y[static_cast<size_t>(r * actual.params.y_stride + i)]));
    }
  }
}

TEST_P(RmsNormTest, WorksInPlaceAndRowByRow) {
  const auto& [backend, c] = GetParam();
  const test::BackendScope scope(backend);
  Inputs apart(c);
  run(backend, apart.params);
  Inputs in_place(c);
  in_place.params.y = in_place.x.data();
  in_place.params.y_stride = in_place.params.x_stride;
  for (int64_t r = 0; r < c.num_rows; ++r) {
    RmsNormParams row = in_place.params;
    row.num_rows = 1;
    row.x += r * row.x_stride;
    row.y += r * row.y_stride;
    run(backend, row);
  }
  in_place.y = in_place.x;
  EXPECT_EQ(in_place.rows(), apart.rows());
}

INSTANTIATE_TEST_SUITE_P(EveryBackend, RmsNormTest,
                         testing::Combine(testing::ValuesIn(test::backends()),
                                          testing::ValuesIn(kCases)),
                         [](const auto& info) {
                           return test::backend_name(std::get<0>(info.param)) + "_" +
                                  std::get<1>(info.param).name;
                         });

// Rounded rows: half a unit of bf16's last place, 2^-8 of a value, and what f32 adds to it.
class RoundedRmsNormTest : public testing::TestWithParam<int64_t> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(RoundedRmsNormTest);
INSTANTIATE_TEST_SUITE_P(Cuda, RoundedRmsNormTest, testing::ValuesIn(test::cuda_backends()),
                         [](const auto& info) { return test::backend_name(info.param); });

TEST_P(RoundedRmsNormTest, MatchesReference) {
  for (const Case& c : {Case{"shortest", 1, 8, 0, 0, 1}, Case{"odd_rows", 5, 576, 4, 8, 1},
                        Case{"many", 200, 4096, 0, 0, 3}, Case{"tiny", 3, 136, 0, 0, 1e-18F}}) {
    Inputs expected(c);
    std::vector<bf16> rounded(expected.y.size(), bf16(std::nanf("")));
    const RmsNormParams& p = expected.params;
    test::DeviceMirror mirror;
    cuda::rms_norm(
        RoundedRmsNormParams{p.num_rows, p.dim, mirror.input(p.x, p.num_rows * p.x_stride),
                             p.x_stride, mirror.input(p.weight, p.dim), p.eps,
                             mirror.output(rounded), p.y_stride},
        mirror.stream());
    mirror.finish();
    reference::rms_norm(p);
    for (size_t i = 0; i < rounded.size(); ++i) {
      const auto actual = static_cast<float>(rounded[i]);
      const float wanted = expected.y[i];
      ASSERT_EQ(std::isnan(actual), std::isnan(wanted)) << c.name << ", " << i;  // padding
      if (!std::isnan(wanted)) {
        ASSERT_NEAR(actual, wanted, std::fabs(wanted) * (0x1p-8 + 1e-5)) << c.name << ", " << i;
      }
    }
  }
}

TEST(RmsNorm, KnownValues) {
  const float x[] = {3, 4};
  const float weight[] = {1, 2};
  float y[2];
  cpu::rms_norm({1, 2, x, 2, weight, 0, y, 2});
  EXPECT_FLOAT_EQ(y[0], 3 / std::sqrt(12.5F));
  EXPECT_FLOAT_EQ(y[1], 8 / std::sqrt(12.5F));
}

}  // namespace
}  // namespace lychee::norm
