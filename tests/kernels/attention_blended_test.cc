// Blended attention and its adjoint against the reference, on every instruction set.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/attention/blended_attention.h"
#include "support/compare.h"
#include "support/random.h"
#include "support/simd_targets.h"

namespace lychee::attention {
namespace {

struct Case {
  const char* name;
  int64_t num_rows, context_len;
  int q_heads, kv_heads, head_dim;
  bool sets;
  bool per_q_head;
};

constexpr Case kCases[] = {
    {"one_row_no_context", 1, 0, 1, 1, 8, true, false},
    {"dense", 5, 13, 4, 2, 16, false, false},
    {"no_context", 37, 0, 4, 2, 16, true, false},
    {"several_blocks", 53, 61, 6, 2, 24, true, false},
    {"many_query_heads", 5, 129, 50, 1, 8, true, false},
    {"per_query_head", 19, 40, 6, 3, 16, true, true},
};

// The same inputs in either precision, results poisoned.
template <typename Real>
struct Inputs {
  std::vector<Real> context_k, context_v, q, k, v, z, out, d_out, d_q, d_k, d_v;
  std::vector<float> scores;
  std::vector<double> d_z;
  std::vector<std::vector<int32_t>> ids, num_ids;
  std::vector<RowSets> sets;
  std::vector<std::byte> workspace;
  BlendedAttentionParams<Real> params;

  explicit Inputs(const Case& c) {
    test::Random random;
    const auto normals = [&](int64_t count) {
      const std::vector<float> values = random.normals(count);
      return std::vector<Real>(values.begin(), values.end());
    };
    const int64_t stride = c.context_len + 3;
    context_k = normals(c.kv_heads * stride * c.head_dim);
    context_v = normals(c.kv_heads * stride * c.head_dim);
    q = normals(c.num_rows * c.q_heads * c.head_dim);
    k = normals(c.num_rows * c.kv_heads * c.head_dim);
    v = normals(c.num_rows * c.kv_heads * c.head_dim);
    d_out = normals(c.num_rows * c.q_heads * c.head_dim);
    for (int h = 0; h < c.kv_heads; ++h) {
      z.push_back(h == 1 ? Real{1} : static_cast<Real>(0.3));
    }
    fill_sets(c, random);
    const auto poison = std::numeric_limits<Real>::quiet_NaN();
    out.assign(q.size(), poison);
    d_q.assign(q.size(), poison);
    d_k.assign(k.size(), poison);
    d_v.assign(k.size(), poison);
    d_z.assign(z.size(), poison);
    const int64_t scores_stride = c.context_len + c.num_rows + 2;
    scores.assign(static_cast<size_t>(c.q_heads * c.num_rows * scores_stride),
                  std::numeric_limits<float>::quiet_NaN());
    params = {c.num_rows,
              c.q_heads,
              c.kv_heads,
              c.head_dim,
              static_cast<Real>(0.25),
              c.context_len,
              context_k.data(),
              context_v.data(),
              stride,
              q.data(),
              k.data(),
              v.data(),
              z.data(),
              c.sets ? sets.data() : nullptr,
              c.per_q_head,
              out.data(),
              scores.data(),
              scores_stride,
              c.per_q_head,
              nullptr,
              nullptr};
  }

  // About a third of the tokens, in no order; the current token is always in.
  void fill_sets(const Case& c, test::Random& random) {
    const int heads = c.per_q_head ? c.q_heads : c.kv_heads;
    const int64_t most = c.context_len + c.num_rows;
    for (int h = 0; h < heads; ++h) {
      ids.emplace_back(static_cast<size_t>(c.num_rows * most), INT32_MAX);
      num_ids.emplace_back();
      for (int64_t r = 0; r < c.num_rows; ++r) {
        std::vector<int32_t> set = {static_cast<int32_t>(c.context_len + r)};
        for (int32_t t = 0; t < c.context_len + r; ++t) {
          if (random.integer(0, 2) == 0) {
            set.push_back(t);
          }
        }
        random.shuffle(set);
        std::copy(set.begin(), set.end(), ids.back().begin() + r * most);
        num_ids.back().push_back(static_cast<int32_t>(set.size()));
      }
    }
    for (int h = 0; h < heads; ++h) {
      sets.push_back(
          {ids[static_cast<size_t>(h)].data(), num_ids[static_cast<size_t>(h)].data(), most});
    }
  }
  [[nodiscard]] BlendedAttentionBackwardParams<Real> backward() {
    return {params, d_out.data(), d_q.data(), d_k.data(), d_v.data(), d_z.data(), nullptr};
  }
};

void expect_close(const std::vector<float>& actual, const std::vector<double>& expected,
                  const char* what) {
  double largest = 1;
  for (const double value : expected) {
    largest = std::max(largest, std::fabs(value));
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_LE(test::absolute_error(double{actual[i]}, expected[i]), 2e-5 * largest)
        << what << " " << i;
  }
}

class BlendedAttentionTest : public testing::TestWithParam<std::tuple<int64_t, Case>> {};

TEST_P(BlendedAttentionTest, MatchesReference) {
  const auto& [target, c] = GetParam();
  const test::SimdTargetScope scope(target);
  Inputs<float> actual(c);
  Inputs<double> expected(c);
  actual.workspace.resize(
      static_cast<size_t>(cpu::blended_attention_workspace_bytes(actual.params)));
  actual.params.workspace = actual.workspace.data();
  cpu::blended_attention(actual.params);
  reference::blended_attention(expected.params);
  expect_close(actual.out, expected.out, "out");
  for (size_t i = 0; i < expected.scores.size(); ++i) {
    ASSERT_EQ(std::isnan(actual.scores[i]), std::isnan(expected.scores[i])) << i;
    if (!std::isnan(expected.scores[i])) {
      ASSERT_NEAR(actual.scores[i], expected.scores[i], 1e-4);
    }
  }
}

TEST_P(BlendedAttentionTest, AdjointMatchesReference) {
  const auto& [target, c] = GetParam();
  const test::SimdTargetScope scope(target);
  Inputs<float> actual(c);
  Inputs<double> expected(c);
  BlendedAttentionBackwardParams<float> p = actual.backward();
  actual.workspace.resize(static_cast<size_t>(cpu::blended_attention_backward_workspace_bytes(p)));
  p.workspace = actual.workspace.data();
  cpu::blended_attention_backward(p);
  reference::blended_attention_backward(expected.backward());
  expect_close(actual.d_q, expected.d_q, "d_q");
  expect_close(actual.d_k, expected.d_k, "d_k");
  expect_close(actual.d_v, expected.d_v, "d_v");
  for (size_t i = 0; i < expected.d_z.size(); ++i) {
    EXPECT_NEAR(actual.d_z[i], expected.d_z[i], 1e-4 * std::max(1.0, std::fabs(expected.d_z[i])));
  }
}

INSTANTIATE_TEST_SUITE_P(EveryTarget, BlendedAttentionTest,
                         testing::Combine(testing::ValuesIn(test::simd_targets()),
                                          testing::ValuesIn(kCases)),
                         [](const auto& info) {
                           return test::simd_target_name(std::get<0>(info.param)) + "_" +
                                  std::get<1>(info.param).name;
                         });

}  // namespace
}  // namespace lychee::attention
