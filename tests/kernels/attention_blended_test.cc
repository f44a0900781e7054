// Blended attention and its adjoint against the reference, on every backend.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <ostream>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/attention/blended_attention.h"
#include "kernels/attention_support.h"
#include "support/compare.h"
#include "support/random.h"
#include "tensor/dtype.h"

namespace lychee::attention {
namespace {

enum class Sets : uint8_t {
  kNone,
  kThird,  // of the tokens, in no order; the current one is always in
  kOne,
  kAll,
};

struct Case {
  const char* name;
  int64_t num_rows, context_len;
  int q_heads, kv_heads, head_dim;
  Sets sets;
  bool per_q_head;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

constexpr Case kCases[] = {
    {"one_row_no_context", 1, 0, 1, 1, 8, Sets::kThird, false},
    {"dense", 5, 13, 4, 2, 16, Sets::kNone, false},
    {"no_context", 37, 0, 4, 2, 16, Sets::kThird, false},
    {"several_blocks", 53, 61, 6, 2, 24, Sets::kThird, false},
    {"many_query_heads", 5, 129, 50, 1, 8, Sets::kThird, false},
    {"per_query_head", 19, 40, 6, 3, 16, Sets::kThird, true},
    {"sets_of_one", 40, 33, 4, 4, 16, Sets::kOne, false},
    {"sets_of_all", 33, 31, 6, 3, 20, Sets::kAll, false},
};

// What fills tiles, splits and pipelines of a GPU.
constexpr Case kLargeCases[] = {
    {"group_of_4_dim_128", 150, 333, 8, 2, 128, Sets::kThird, false},
    {"group_of_7_dim_64", 77, 1300, 14, 2, 64, Sets::kThird, false},
    {"group_of_3_dim_64", 130, 2100, 9, 3, 64, Sets::kThird, false},
    {"group_of_16", 65, 95, 16, 1, 128, Sets::kThird, true},
    {"odd_dim", 70, 1100, 4, 2, 75, Sets::kThird, false},
    {"dense_dim_128", 129, 517, 4, 1, 128, Sets::kNone, false},
    {"dense_dim_64", 140, 400, 6, 2, 64, Sets::kNone, false},
    {"dense_split", 65, 1517, 4, 1, 128, Sets::kNone, false},
    {"targets_from_an_odd_position", 200, 45, 2, 2, 80, Sets::kThird, true},
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
      z.push_back(h == 1 ? Real{1} : h == 2 ? Real{0} : static_cast<Real>(0.3));
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
              c.sets == Sets::kNone ? nullptr : sets.data(),
              c.per_q_head,
              out.data(),
              scores.data(),
              scores_stride,
              c.per_q_head,
              nullptr,
              nullptr};
  }

  void fill_sets(const Case& c, test::Random& random) {
    const int heads = c.per_q_head ? c.q_heads : c.kv_heads;
    const int64_t most = c.context_len + c.num_rows;
    for (int h = 0; h < heads; ++h) {
      ids.emplace_back(static_cast<size_t>(c.num_rows * most), INT32_MAX);
      num_ids.emplace_back();
      for (int64_t r = 0; r < c.num_rows; ++r) {
        const std::vector<int32_t> set = make_set(c.sets, c.context_len + r, random);
        std::copy(set.begin(), set.end(), ids.back().begin() + r * most);
        num_ids.back().push_back(static_cast<int32_t>(set.size()));
      }
    }
    for (int h = 0; h < heads; ++h) {
      sets.push_back(
          {ids[static_cast<size_t>(h)].data(), num_ids[static_cast<size_t>(h)].data(), most});
    }
  }
  [[nodiscard]] static std::vector<int32_t> make_set(Sets sets, int64_t last,
                                                     test::Random& random) {
    if (sets == Sets::kOne) {
      return {static_cast<int32_t>(random.integer(0, last))};
    }
    std::vector<int32_t> set = {static_cast<int32_t>(last)};
    for (int32_t t = 0; t < last; ++t) {
      if (sets == Sets::kAll || random.integer(0, 2) == 0) {
        set.push_back(t);
      }
    }
    random.shuffle(set);
    return set;
  }
  [[nodiscard]] BlendedAttentionBackwardParams<Real> backward() {
    return {params, d_out.data(), d_q.data(), d_k.data(), d_v.data(), d_z.data(), nullptr};
  }
};

// A call on the device.
class DeviceInputs {
 public:
  explicit DeviceInputs(Inputs<float>& host) : host_(host), params_(host.params) {
    params_.context_k = mirror_.input(host.context_k);
    params_.context_v = mirror_.input(host.context_v);
    params_.q = mirror_.input(host.q);
    params_.k = mirror_.input(host.k);
    params_.v = mirror_.input(host.v);
    params_.z = mirror_.input(host.z);
    for (size_t h = 0; h < host.sets.size(); ++h) {
      sets_.push_back(
          {mirror_.input(host.ids[h]), mirror_.input(host.num_ids[h]), host.sets[h].ids_stride});
    }
    params_.sets = host.params.sets == nullptr ? nullptr : sets_.data();
  }
  void forward() {
    params_.out = mirror_.output(host_.out);
    params_.scores = host_.params.scores == nullptr ? nullptr : mirror_.output(host_.scores);
    params_.workspace = mirror_.scratch(cuda::blended_attention_workspace_bytes(params_));
    cuda::blended_attention(params_, mirror_.stream());
    mirror_.finish();
  }
  void backward() {
    BlendedAttentionBackwardParams<float> p{params_,
                                            mirror_.input(host_.d_out),
                                            mirror_.output(host_.d_q),
                                            mirror_.output(host_.d_k),
                                            mirror_.output(host_.d_v),
                                            mirror_.output(host_.d_z),
                                            nullptr};
    p.workspace = mirror_.scratch(cuda::blended_attention_backward_workspace_bytes(p));
    cuda::blended_attention_backward(p, mirror_.stream());
    mirror_.finish();
  }

 private:
  Inputs<float>& host_;
  test::DeviceMirror mirror_;
  std::vector<RowSets> sets_;
  BlendedAttentionParams<float> params_;
};

void run_forward(const Backend& backend, Inputs<float>& inputs) {
  if (backend.cuda) {
    DeviceInputs(inputs).forward();
    return;
  }
  const BackendScope scope(backend);
  inputs.workspace.resize(
      static_cast<size_t>(cpu::blended_attention_workspace_bytes(inputs.params)));
  inputs.params.workspace = inputs.workspace.data();
  cpu::blended_attention(inputs.params);
}

void run_backward(const Backend& backend, Inputs<float>& inputs) {
  if (backend.cuda) {
    DeviceInputs(inputs).backward();
    return;
  }
  const BackendScope scope(backend);
  BlendedAttentionBackwardParams<float> p = inputs.backward();
  inputs.workspace.resize(static_cast<size_t>(cpu::blended_attention_backward_workspace_bytes(p)));
  p.workspace = inputs.workspace.data();
  cpu::blended_attention_backward(p);
}

double largest_norm(const std::vector<double>& rows, int head_dim) {
  double largest = 0;
  for (size_t first = 0; first < rows.size(); first += static_cast<size_t>(head_dim)) {
    const double* row = rows.data() + first;
    largest = std::max(largest, std::inner_product(row, row + head_dim, row, 0.0));
  }
  return std::sqrt(largest);
}

// How far results may be off: scores outright, all else in units of the largest value of its kind.
struct Tolerance {
  double score = 1e-4;
  double value = 2e-5;
  double d_z = 1e-4;
};

// CUDA with `exact` multiplies operands in two parts of bf16, each product right to 3 · 2^-18 of
// its size. By Cauchy-Schwarz that bounds a score's error; a weight is off by twice as many parts
// of itself as a scaled score is outright, and a gradient has two such factors.
Tolerance tolerance_of(const Backend& backend, const Inputs<double>& inputs) {
  if (!backend.cuda) {
    return {};
  }
  const int head_dim = inputs.params.head_dim;
  const double score =
      3 * 0x1p-18 * largest_norm(inputs.q, head_dim) *
      std::max(largest_norm(inputs.k, head_dim), largest_norm(inputs.context_k, head_dim));
  const double value = 4 * std::max(score * inputs.params.scale, 0x1p-18);
  return {score, value, value * std::sqrt(static_cast<double>(inputs.q.size()))};
}

void expect_close(const std::vector<float>& actual, const std::vector<double>& expected,
                  double tolerance, const char* what) {
  double largest = 1;
  for (const double value : expected) {
    largest = std::max(largest, std::fabs(value));
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_LE(test::absolute_error(double{actual[i]}, expected[i]), tolerance * largest)
        << what << " " << i;
  }
}

void expect_outputs(const Inputs<float>& actual, const Inputs<double>& expected,
                    const Tolerance& tolerance) {
  expect_close(actual.out, expected.out, tolerance.value, "out");
  for (size_t i = 0; i < expected.scores.size(); ++i) {
    ASSERT_EQ(std::isnan(actual.scores[i]), std::isnan(expected.scores[i])) << i;
    if (!std::isnan(expected.scores[i])) {
      ASSERT_NEAR(actual.scores[i], expected.scores[i], tolerance.score) << i;
    }
  }
}

void expect_gradients(const Inputs<float>& actual, const Inputs<double>& expected,
                      const Tolerance& tolerance) {
  expect_close(actual.d_q, expected.d_q, tolerance.value, "d_q");
  expect_close(actual.d_k, expected.d_k, tolerance.value, "d_k");
  expect_close(actual.d_v, expected.d_v, tolerance.value, "d_v");
  for (size_t i = 0; i < expected.d_z.size(); ++i) {
    EXPECT_NEAR(actual.d_z[i], expected.d_z[i],
                tolerance.d_z * std::max(1.0, std::fabs(expected.d_z[i])))
        << i;
  }
}

class BlendedAttentionTest : public testing::TestWithParam<std::tuple<Backend, Case>> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(BlendedAttentionTest);

TEST_P(BlendedAttentionTest, MatchesReference) {
  const auto& [backend, c] = GetParam();
  Inputs<float> actual(c);
  Inputs<double> expected(c);
  actual.params.exact = true;
  run_forward(backend, actual);
  reference::blended_attention(expected.params);
  expect_outputs(actual, expected, tolerance_of(backend, expected));
}

TEST_P(BlendedAttentionTest, AdjointMatchesReference) {
  const auto& [backend, c] = GetParam();
  Inputs<float> actual(c);
  Inputs<double> expected(c);
  actual.params.exact = true;
  run_backward(backend, actual);
  reference::blended_attention_backward(expected.backward());
  expect_gradients(actual, expected, tolerance_of(backend, expected));
}

INSTANTIATE_TEST_SUITE_P(EveryBackend, BlendedAttentionTest,
                         testing::Combine(testing::ValuesIn(backends()), testing::ValuesIn(kCases)),
                         [](const auto& info) {
                           return std::get<0>(info.param).name + "_" + std::get<1>(info.param).name;
                         });
INSTANTIATE_TEST_SUITE_P(Large, BlendedAttentionTest,
                         testing::Combine(testing::ValuesIn(cuda_backends()),
                                          testing::ValuesIn(kLargeCases)),
                         [](const auto& info) {
                           return std::get<0>(info.param).name + "_" + std::get<1>(info.param).name;
                         });

class BlendedBackendTest : public testing::TestWithParam<Backend> {};
INSTANTIATE_TEST_SUITE_P(Backends, BlendedBackendTest, testing::ValuesIn(backends()),
                         [](const auto& info) { return info.param.name; });

constexpr Case kPlain{"plain", 40, 50, 6, 3, 64, Sets::kThird, false};

// Makes token 0 of the context weigh more than e^200 times as much as any other, and takes it out
// of all sets.
template <typename Real>
void lift_first_token(const Case& c, Inputs<Real>& inputs) {
  for (int h = 0; h < c.kv_heads; ++h) {
    std::fill_n(inputs.context_k.begin() + h * inputs.params.context_stride * c.head_dim,
                c.head_dim, Real{10});
  }
  for (Real& value : inputs.q) {
    value = std::fabs(value) + 1;
  }
  for (size_t h = 0; h < inputs.ids.size(); ++h) {
    for (size_t r = 0; r < inputs.num_ids[h].size(); ++r) {
      int32_t* begin = inputs.ids[h].data() + static_cast<int64_t>(r) * inputs.sets[h].ids_stride;
      int32_t* end = std::remove(begin, begin + inputs.num_ids[h][r], 0);
      inputs.num_ids[h][r] = static_cast<int32_t>(end - begin);
    }
  }
}

TEST_P(BlendedBackendTest, SetsFarBelowTheRest) {
  Inputs<float> actual(kPlain);
  Inputs<double> expected(kPlain);
  lift_first_token(kPlain, actual);
  lift_first_token(kPlain, expected);
  actual.params.exact = true;
  run_forward(GetParam(), actual);
  run_backward(GetParam(), actual);
  reference::blended_attention(expected.params);
  reference::blended_attention_backward(expected.backward());
  Tolerance tolerance = tolerance_of(GetParam(), expected);
  tolerance.score = std::max(tolerance.score, 1e-2);  // of scores in the thousands
  tolerance.value = std::max(tolerance.value, 1e-4);
  expect_outputs(actual, expected, tolerance);
  expect_gradients(actual, expected, tolerance);
}

TEST_P(BlendedBackendTest, EmitsOnlyWhatIsWanted) {
  const std::vector<uint8_t> wanted = {0, 1, 0};
  Inputs<float> all(kPlain);
  Inputs<float> some(kPlain);
  some.params.emit_scores = wanted.data();
  run_forward(GetParam(), all);
  run_forward(GetParam(), some);
  const int64_t of_head = kPlain.num_rows * some.params.scores_stride;
  for (int64_t i = 0; i < kPlain.kv_heads * of_head; ++i) {
    const auto at = static_cast<size_t>(i);
    if (wanted[static_cast<size_t>(i / of_head)] == 0) {
      ASSERT_TRUE(std::isnan(some.scores[at])) << i;
    } else if (!std::isnan(all.scores[at])) {
      ASSERT_EQ(some.scores[at], all.scores[at]) << i;
    }
  }
  EXPECT_EQ(some.out, all.out);
}

class BlendedCudaTest : public testing::TestWithParam<Backend> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(BlendedCudaTest);
INSTANTIATE_TEST_SUITE_P(Cuda, BlendedCudaTest, testing::ValuesIn(cuda_backends()),
                         [](const auto& info) { return info.param.name; });

template <typename Real>
void round_to_bf16(Inputs<Real>& inputs) {
  for (auto* values :
       {&inputs.context_k, &inputs.context_v, &inputs.q, &inputs.k, &inputs.v, &inputs.d_out}) {
    for (Real& value : *values) {
      value = static_cast<Real>(static_cast<float>(bf16(static_cast<float>(value))));
    }
  }
}

// Without `exact` operands are rounded to bf16 once. Of inputs that bf16 holds, only softmax
// weights and their gradients are rounded, by 2^-9 of each; the errors of a sum's terms are
// independent, so their sum is to the result as one error to one term. Four standard deviations of
// that.
TEST_P(BlendedCudaTest, NarrowProductsRoundOnce) {
  for (const Case& c : kLargeCases) {
    SCOPED_TRACE(c.name);
    Inputs<float> actual(c);
    Inputs<double> expected(c);
    round_to_bf16(actual);
    round_to_bf16(expected);
    run_forward(GetParam(), actual);
    run_backward(GetParam(), actual);
    reference::blended_attention(expected.params);
    reference::blended_attention_backward(expected.backward());
    constexpr double kMeanRounding = 4 * 0x1p-9;
    // The mean query of a group is a sum, and rounded in its turn.
    const double score = 0x1p-9 * largest_norm(expected.q, c.head_dim) *
                         std::max(largest_norm(expected.k, c.head_dim),
                                  largest_norm(expected.context_k, c.head_dim));
    const Tolerance tolerance{score, kMeanRounding, 1e-4};
    expect_outputs(actual, expected, tolerance);
    expect_gradients(actual, expected, tolerance);
  }
}

TEST_P(BlendedCudaTest, SameBitsEveryTime) {
  const Case& c = kLargeCases[0];
  Inputs<float> first(c);
  Inputs<float> second(c);
  for (Inputs<float>* inputs : {&first, &second}) {
    run_forward(GetParam(), *inputs);
    run_backward(GetParam(), *inputs);
  }
  EXPECT_EQ(first.out, second.out);
  EXPECT_EQ(first.d_q, second.d_q);
  EXPECT_EQ(first.d_k, second.d_k);
  EXPECT_EQ(first.d_v, second.d_v);
  EXPECT_EQ(first.d_z, second.d_z);
}

}  // namespace
}  // namespace lychee::attention
