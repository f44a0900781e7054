#include "kernels/rope/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "lychee/error.h"
#include "support/backends.h"
#include "support/compare.h"
#include "support/device_mirror.h"
#include "support/random.h"

namespace lychee::rope {
namespace {

struct Case {
  const char* name;
  int64_t num_rows;
  int num_heads, head_dim;
  int64_t padding, first_position;
  float attention_factor;
};

constexpr Case kCases[] = {
    {"smallest", 1, 1, 2, 0, 0, 1},       {"short_head", 3, 2, 6, 5, 7, 1},
    {"smollm", 1, 9, 64, 0, 8191, 1},     {"prefill", 40, 3, 64, 64, 100, 1},
    {"odd_half", 5, 2, 106, 0, 1000, 1},  {"million", 2, 2, 128, 0, 1048570, 1},
    {"yarn", 2, 2, 128, 0, 50000, 1.25F},
};

struct Inputs {
  std::vector<float> x, inv_freq;
  std::vector<int64_t> positions;
  RopeParams params;

  explicit Inputs(const Case& c) {
    test::Random random;
    const int64_t stride = int64_t{c.num_heads} * c.head_dim + c.padding;
    x = random.normals(c.num_rows * stride);
    for (int i = 0; i < c.head_dim / 2; ++i) {
      inv_freq.push_back(
          std::pow(10000.0F, -2.0F * static_cast<float>(i) / static_cast<float>(c.head_dim)));
    }
    for (int64_t r = 0; r < c.num_rows; ++r) {
      positions.push_back(c.first_position + 3 * r);
    }
    params = {c.num_rows, c.num_heads,      c.head_dim,      x.data(),
              stride,     positions.data(), inv_freq.data(), c.attention_factor};
  }
};

// Angles in double, the rotation in f32.
std::vector<float> plain(const Inputs& inputs) {
  const RopeParams& p = inputs.params;
  std::vector<float> x = inputs.x;
  for (int64_t r = 0; r < p.num_rows; ++r) {
    for (int h = 0; h < p.num_heads; ++h) {
      for (int i = 0; i < p.head_dim / 2; ++i) {
        const double angle =
            static_cast<double>(p.positions[r]) * static_cast<double>(p.inv_freq[i]);
        const float cosine = static_cast<float>(std::cos(angle)) * p.attention_factor;
        const float sine = static_cast<float>(std::sin(angle)) * p.attention_factor;
        float* a = x.data() + r * p.row_stride + int64_t{h} * p.head_dim + i;
        float* b = a + p.head_dim / 2;
        const float low = *a * cosine - *b * sine;
        *b = *b * cosine + *a * sine;
        *a = low;
      }
    }
  }
  return x;
}

// The CUDA backend has the form with a table alone.
void run(int64_t backend, RopeParams& p, bool by_table) {
  if (backend != test::kCuda && !by_table) {
    cpu::rope(p);
    return;
  }
  std::vector<float> table(static_cast<size_t>(p.num_rows * p.head_dim), std::nanf(""));
  RopeTableParams make = {p.num_rows, p.head_dim,         p.positions,
                          p.inv_freq, p.attention_factor, table.data()};
  RopeApplyParams apply = {p.num_rows, p.num_heads, p.head_dim, p.x, p.row_stride, table.data()};
  if (backend != test::kCuda) {
    cpu::make_rope_table(make);
    cpu::apply_rope_table(apply);
    return;
  }
  test::DeviceMirror mirror;
  make.positions = mirror.input(p.positions, p.num_rows);
  make.inv_freq = mirror.input(p.inv_freq, p.head_dim / 2);
  make.table = mirror.output(table);
  apply.table = make.table;
  apply.x = mirror.output(p.x, (p.num_rows - 1) * p.row_stride + int64_t{p.num_heads} * p.head_dim);
  cuda::make_rope_table(make, mirror.stream());
  cuda::apply_rope_table(apply, mirror.stream());
  mirror.finish();
}

class RopeTest : public testing::TestWithParam<std::tuple<int64_t, Case>> {};

TEST_P(RopeTest, MatchesReference) {
  const auto& [backend, c] = GetParam();
  const test::BackendScope scope(backend);
  Inputs actual(c);
  Inputs expected(c);
  const std::vector<float> in_f32 = plain(expected);
  run(backend, actual.params, false);
  reference::rope(expected.params);
  // Padding between rows is compared too: it must stay as it was.
  EXPECT_TRUE(test::as_good_as_plain(actual.x, in_f32, expected.x, 1e-6));
}

TEST_P(RopeTest, TableGivesTheSameBits) {
  const auto& [backend, c] = GetParam();
  const test::BackendScope scope(backend);
  Inputs direct(c);
  Inputs by_table(c);
  run(backend, direct.params, false);
  run(backend, by_table.params, true);
  EXPECT_EQ(by_table.x, direct.x);
}

INSTANTIATE_TEST_SUITE_P(EveryBackend, RopeTest,
                         testing::Combine(testing::ValuesIn(test::backends()),
                                          testing::ValuesIn(kCases)),
                         [](const auto& info) {
                           return test::backend_name(std::get<0>(info.param)) + "_" +
                                  std::get<1>(info.param).name;
                         });

TEST(Rope, RotatesHalvesByTheAngle) {
  float x[] = {1, 0, 0, 1};
  const int64_t position = 2;
  const float inv_freq[] = {0.5F, 0.25F};
  cpu::rope({1, 1, 4, x, 4, &position, inv_freq, 1});
  EXPECT_FLOAT_EQ(x[0], std::cos(1.0F));
  EXPECT_FLOAT_EQ(x[1], -std::sin(0.5F));
  EXPECT_FLOAT_EQ(x[2], std::sin(1.0F));
  EXPECT_FLOAT_EQ(x[3], std::cos(0.5F));
}

TEST(Rope, RefusesHugeHeads) {
  std::vector<float> x(2048);
  std::vector<float> inv_freq(1024);
  const int64_t position = 0;
  EXPECT_THROW(cpu::rope({1, 1, 2048, x.data(), 2048, &position, inv_freq.data(), 1}), Error);
}

}  // namespace
}  // namespace lychee::rope
