#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "kernels/activation/silu_mul.h"
#include "support/backends.h"
#include "support/compare.h"
#include "support/device_mirror.h"
#include "support/random.h"

namespace lychee::activation {
namespace {

struct Case {
  const char* name;
  int64_t num_rows, dim, padding;
  float scale;
};

constexpr Case kCases[] = {{"one_value", 1, 1, 0, 1},
                           {"odd", 3, 61, 2, 1},
                           {"smollm", 1, 1536, 0, 3},
                           {"many_rows", 65, 1536, 8, 1},
                           {"longer_than_a_span", 2, 4099, 0, 1},
                           {"wide", 3, 129, 0, 50}};

std::vector<float> plain(const std::vector<float>& gate, const std::vector<float>& up) {
  std::vector<float> y(gate.size());
  for (size_t i = 0; i < y.size(); ++i) {
    y[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
  }
  return y;
}

void run_on(int64_t backend, SiluMulParams p) {
  if (backend != test::kCuda) {
    cpu::silu_mul(p);
    return;
  }
  test::DeviceMirror mirror;
  const auto count = [&](int64_t stride) { return (p.num_rows - 1) * stride + p.dim; };
  const bool in_place = p.y == p.gate;
  p.y = mirror.output(p.y, count(p.y_stride));
  p.gate = in_place ? p.y : mirror.input(p.gate, count(p.gate_stride));
  p.up = mirror.input(p.up, count(p.up_stride));
  cuda::silu_mul(p, mirror.stream());
  mirror.finish();
}

class SiluMulTest : public testing::TestWithParam<std::tuple<int64_t, Case>> {};

TEST_P(SiluMulTest, MatchesReference) {
  const auto& [backend, c] = GetParam();
  const test::BackendScope scope(backend);
  test::Random random;
  const int64_t stride = c.dim + c.padding;
  const std::vector<float> gate = random.normals(c.num_rows * stride, c.scale);
  const std::vector<float> up = random.normals(c.num_rows * stride);
  std::vector<float> actual(gate.size(), std::nanf(""));
  std::vector<float> expected = actual;
  SiluMulParams params = {c.num_rows, c.dim,  gate.data(),   up.data(),
                          stride,     stride, actual.data(), stride};
  run_on(backend, params);
  params.y = expected.data();
  reference::silu_mul(params);
  const std::vector<float> in_f32 = plain(gate, up);
  for (int64_t r = 0; r < c.num_rows; ++r) {
    const auto row = [&, dim = c.dim](const std::vector<float>& all) {
      return std::span(all).subspan(static_cast<size_t>(r * stride), static_cast<size_t>(dim));
    };
    EXPECT_TRUE(test::as_good_as_plain(row(actual), row(in_f32), row(expected), 1e-6)) << r;
    for (int64_t i = c.dim; i < stride; ++i) {
      EXPECT_TRUE(std::isnan(actual[static_cast<size_t>(r * stride + i)]));
    }
  }
}

TEST_P(SiluMulTest, MayOverwriteItsInput) {
  const auto& [backend, c] = GetParam();
  const test::BackendScope scope(backend);
  test::Random random;
  std::vector<float> gate = random.normals(c.num_rows * c.dim, c.scale);
  std::vector<float> up = random.normals(c.num_rows * c.dim);
  std::vector<float> apart(gate.size());
  SiluMulParams params = {c.num_rows, c.dim, gate.data(),  up.data(),
                          c.dim,      c.dim, apart.data(), c.dim};
  run_on(backend, params);
  params.y = gate.data();
  run_on(backend, params);
  EXPECT_EQ(gate, apart);
}

INSTANTIATE_TEST_SUITE_P(EveryBackend, SiluMulTest,
                         testing::Combine(testing::ValuesIn(test::backends()),
                                          testing::ValuesIn(kCases)),
                         [](const auto& info) {
                           return test::backend_name(std::get<0>(info.param)) + "_" +
                                  std::get<1>(info.param).name;
                         });

// Rounded results: half a unit of bf16's last place, 2^-8 of a value, and what f32 adds to it.
TEST(RoundedSiluMul, MatchesReference) {
  for ([[maybe_unused]] const int64_t backend : test::cuda_backends()) {
    for (const Case& c : {Case{"shortest", 1, 8, 0, 1}, Case{"rows", 65, 1536, 8, 3},
                          Case{"parts_of_a_row", 2, 4104, 16, 50}}) {
      test::Random random;
      const int64_t stride = c.dim + c.padding;
      std::vector<bf16> gate, up;
      std::vector<float> gate_values, up_values;
      for (int64_t i = 0; i < c.num_rows * stride; ++i) {
        gate_values.push_back(static_cast<float>(gate.emplace_back(c.scale * random.normal())));
        up_values.push_back(static_cast<float>(up.emplace_back(random.normal())));
      }
      std::vector<bf16> actual(gate.size(), bf16(std::nanf("")));
      std::vector<float> expected(gate.size(), std::nanf(""));
      reference::silu_mul(SiluMulParams{c.num_rows, c.dim, gate_values.data(), up_values.data(),
                                        stride, stride, expected.data(), stride});
      test::DeviceMirror mirror;
      const auto count = static_cast<int64_t>(gate.size());
      cuda::silu_mul(SiluMulParamsOf<bf16>{c.num_rows, c.dim, mirror.input(gate.data(), count),
                                           mirror.input(up.data(), count), stride, stride,
                                           mirror.output(actual.data(), count), stride},
                     mirror.stream());
      mirror.finish();
      for (size_t i = 0; i < actual.size(); ++i) {
        const auto value = static_cast<float>(actual[i]);
        ASSERT_EQ(std::isnan(value), std::isnan(expected[i])) << c.name << ", " << i;  // padding
        if (!std::isnan(value)) {
          // Where exp overflows in f32, the product is 0 instead of some 1e-37.
          ASSERT_NEAR(value, expected[i], std::fabs(expected[i]) * (0x1p-8 + 1e-5) + 1e-36)
              << c.name << ", " << i;
        }
      }
    }
  }
}

// Each value once in whole vectors and once alone.
TEST(SiluMul, KnownValuesAndExtremes) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  struct Known {
    float gate, up, y;
  };
  constexpr Known kKnown[] = {{0, 3, 0},
                              {1, 2, 2 * 0.7310585786F},
                              {-1, 2, -2 * 0.2689414214F},
                              {300, 2, 600},
                              {-300, 2, 0},
                              {-1e30F, 1, 0},
                              {kInf, 1, kInf},
                              {-kInf, 1, 0},
                              {-87.5F, 1, 0},
                              {88.5F, 1, 88.5F}};
  for (const int64_t backend : test::backends()) {
    const test::BackendScope scope(backend);
    for (const int64_t count : {1, 64}) {
      const auto run = [&](float gate, float up) {
        const std::vector<float> gates(static_cast<size_t>(count), gate);
        const std::vector<float> ups(static_cast<size_t>(count), up);
        std::vector<float> y(static_cast<size_t>(count), 1e9F);
        run_on(backend, {1, count, gates.data(), ups.data(), count, count, y.data(), count});
        return y.back();
      };
      for (const Known& k : kKnown) {
        const float y = run(k.gate, k.up);
        EXPECT_TRUE(test::absolute_error(double{y}, double{k.y}) <= std::fabs(k.y) * 1e-6 + 1e-30)
            << k.gate << ": " << y << " on " << test::backend_name(backend);
      }
      EXPECT_TRUE(std::isnan(run(std::nanf(""), 1))) << test::backend_name(backend);
    }
  }
}

}  // namespace
}  // namespace lychee::activation
