#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <map>
#include <span>
#include <vector>

#include "kernels/sampling/sample.h"
#include "lychee/error.h"
#include "support/backends.h"
#include "support/device_mirror.h"
#include "support/random.h"

namespace lychee::sampling {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// How often each id comes out over evenly spread draws.
std::map<int32_t, int> histogram(const std::vector<float>& logits, const SampleParams& params,
                                 const std::vector<int32_t>& previous = {}) {
  constexpr int kDraws = 1000;
  std::map<int32_t, int> counts;
  for (int i = 0; i < kDraws; ++i) {
    ++counts[cpu::sample(logits, params, previous, (i + 0.5) / kDraws)];
  }
  return counts;
}

std::vector<int32_t> ids(const std::map<int32_t, int>& counts) {
  std::vector<int32_t> keys;
  keys.reserve(counts.size());
  for (const auto& [id, count] : counts) {
    keys.push_back(id);
  }
  return keys;
}

std::vector<float> logs(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  logits.reserve(probabilities.size());
  for (const double p : probabilities) {
    logits.push_back(static_cast<float>(std::log(p)));
  }
  return logits;
}

TEST(Sample, GreedyTakesTheLowestOfEqualBest) {
  const std::vector<float> logits = {1, 3, 3, -kInf, 2};
  EXPECT_EQ(cpu::sample(logits, {}, {}, 0.999), 1);
}

TEST(Sample, GreedyIgnoresNan) {
  const std::vector<float> logits = {std::nanf(""), -5, std::nanf(""), -7};
  EXPECT_EQ(cpu::sample(logits, {}, {}, 0), 1);
}

TEST(Sample, NothingFiniteGivesTheFirstId) {
  const std::vector<float> logits = {-kInf, std::nanf(""), -kInf};
  EXPECT_EQ(cpu::sample(logits, {.temperature = 1}, {}, 0.9), 0);
}

TEST(Sample, NoLogitsIsOurBug) {
  EXPECT_THROW((void)cpu::sample({}, {}, {}, 0), Error);
}

TEST(Sample, FollowsTheSoftmax) {
  const auto counts = histogram(logs({0.1, 0.6, 0.3}), {.temperature = 1});
  EXPECT_EQ(counts, (std::map<int32_t, int>{{0, 100}, {1, 600}, {2, 300}}));
}

TEST(Sample, TemperatureSharpens) {
  // Squared and normalised: 1/14, 4/14, 9/14.
  const auto counts = histogram(logs({1, 2, 3}), {.temperature = 0.5});
  EXPECT_NEAR(counts.at(0), 1000.0 / 14, 1);
  EXPECT_NEAR(counts.at(2), 9000.0 / 14, 1);
}

TEST(Sample, TopKKeepsTheLowerOfEqualIds) {
  const std::vector<float> logits = {0, 1, 1, 1, -1};
  EXPECT_EQ(ids(histogram(logits, {.temperature = 1, .top_k = 2})), (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(ids(histogram(logits, {.temperature = 1, .top_k = 5})).size(), 5U);
  EXPECT_EQ(ids(histogram(logits, {.temperature = 1, .top_k = 50})).size(), 5U);
}

TEST(Sample, TopPKeepsTheTokenThatReachesIt) {
  const std::vector<float> logits = logs({0.1, 0.5, 0.15, 0.25});
  EXPECT_EQ(ids(histogram(logits, {.temperature = 1, .top_p = 0.4})), (std::vector<int32_t>{1}));
  EXPECT_EQ(ids(histogram(logits, {.temperature = 1, .top_p = 0.6})), (std::vector<int32_t>{1, 3}));
  EXPECT_EQ(ids(histogram(logits, {.temperature = 1, .top_p = 0.76})),
            (std::vector<int32_t>{1, 2, 3}));
  EXPECT_EQ(ids(histogram(logits, {.temperature = 1, .top_p = 0})), (std::vector<int32_t>{1}));
}

TEST(Sample, TopPIsOfWhatTopKLeaves) {
  // Of 0.5 and 0.25 the first holds two thirds.
  const std::vector<float> logits = logs({0.1, 0.5, 0.15, 0.25});
  EXPECT_EQ(ids(histogram(logits, {.temperature = 1, .top_k = 2, .top_p = 0.65})),
            (std::vector<int32_t>{1}));
  EXPECT_EQ(ids(histogram(logits, {.temperature = 1, .top_k = 2, .top_p = 0.7})),
            (std::vector<int32_t>{1, 3}));
}

TEST(Sample, MinPIsRelativeToTheBest) {
  const std::vector<float> logits = logs({0.1, 0.5, 0.15, 0.25});
  EXPECT_EQ(ids(histogram(logits, {.temperature = 1, .min_p = 0.45})),
            (std::vector<int32_t>{1, 3}));
  EXPECT_EQ(ids(histogram(logits, {.temperature = 1, .min_p = 1})), (std::vector<int32_t>{1}));
}

TEST(Sample, RepetitionPenaltyCountsATokenOnce) {
  const std::vector<float> logits = {2, 3, -1, -1.5F};
  EXPECT_EQ(cpu::sample(logits, {.repetition_penalty = 2}, std::vector<int32_t>{1}, 0), 0);
  EXPECT_EQ(cpu::sample(logits, {.repetition_penalty = 1.4}, std::vector<int32_t>{1, 1, 1}, 0), 1);
  const std::vector<float> negative = {-1, -1.5F};
  EXPECT_EQ(cpu::sample(negative, {.repetition_penalty = 2}, std::vector<int32_t>{0}, 0), 1);
}

// Against sorting everything.
TEST(Sample, TopPOfALargeVocabularyMatchesAFullSort) {
  test::Random random;
  for (const double top_p : {0.1, 0.5, 0.9, 0.999}) {
    const std::vector<float> logits = random.normals(5000, 3);
    std::vector<int32_t> order(logits.size());
    for (size_t i = 0; i < order.size(); ++i) {
      order[i] = static_cast<int32_t>(i);
    }
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
    });
    const double total = cpu::log_sum_exp(logits);
    double mass = 0;
    size_t count = 0;
    while (mass < top_p) {
      mass += std::exp(double{logits[static_cast<size_t>(order[count++])]} - total);
    }
    order.resize(count);
    const int32_t lowest = *std::min_element(order.begin(), order.end());
    const int32_t highest = *std::max_element(order.begin(), order.end());
    const SampleParams params = {.temperature = 1, .top_p = top_p};
    EXPECT_EQ(cpu::sample(logits, params, {}, 0), lowest);
    EXPECT_EQ(cpu::sample(logits, params, {}, std::nextafter(1.0, 0.0)), highest);
  }
}

// What is drawn from, in double precision and by sorting everything: ids and their shares.
std::map<int32_t, double> distribution(const std::vector<float>& logits,
                                       const SampleParams& params) {
  struct Token {
    int32_t id;
    double share;
  };
  std::vector<Token> tokens;
  const float max = *std::max_element(logits.begin(), logits.end(), [](float a, float b) {
    return (std::isnan(a) ? -kInf : a) < (std::isnan(b) ? -kInf : b);
  });
  for (size_t i = 0; i < logits.size(); ++i) {
    const double below = std::isnan(logits[i]) ? -HUGE_VAL : double{logits[i]} - double{max};
    tokens.push_back({static_cast<int32_t>(i), std::exp(below / params.temperature)});
  }
  std::stable_sort(tokens.begin(), tokens.end(),
                   [](const Token& a, const Token& b) { return a.share > b.share; });
  if (params.top_k > 0) {
    tokens.resize(std::min(tokens.size(), static_cast<size_t>(params.top_k)));
  }
  const auto mass = [&] {
    double sum = 0;
    for (const Token& token : tokens) {
      sum += token.share;
    }
    return sum;
  };
  if (params.top_p < 1) {
    const double wanted = params.top_p * mass();
    double sum = tokens[0].share;
    size_t count = 1;
    while (count < tokens.size() && sum < wanted) {
      sum += tokens[count++].share;
    }
    tokens.resize(count);
  }
  std::erase_if(tokens, [&](const Token& token) { return token.share < params.min_p; });
  const double total = mass();
  std::map<int32_t, double> shares;
  for (const Token& token : tokens) {
    shares[token.id] = token.share / total;
  }
  return shares;
}

std::vector<int32_t> greedy(int64_t backend, const std::vector<float>& logits, int64_t num_rows,
                            int64_t vocab_size) {
  std::vector<int32_t> ids(static_cast<size_t>(num_rows), INT32_MAX);
  const auto stride = static_cast<int64_t>(logits.size()) / num_rows;
  if (backend != test::kCuda) {
    for (int64_t r = 0; r < num_rows; ++r) {
      const auto row = std::span(logits).subspan(static_cast<size_t>(r * stride),
                                                 static_cast<size_t>(vocab_size));
      ids[static_cast<size_t>(r)] = cpu::sample(row, {}, {}, 0.5);
    }
    return ids;
  }
  test::DeviceMirror mirror;
  const std::vector<std::byte> zeros(static_cast<size_t>(cuda::argmax_workspace_bytes(num_rows)));
  std::vector<std::byte> workspace = zeros;
  const cuda::ArgmaxParams params = {num_rows,
                                     vocab_size,
                                     mirror.input(logits),
                                     stride,
                                     mirror.output(ids.data(), num_rows),
                                     mirror.output(workspace)};
  cuda::argmax(params, mirror.stream());
  mirror.finish();
  EXPECT_EQ(workspace, zeros);  // ready for the next call
  return ids;
}

int32_t draw(int64_t backend, const std::vector<float>& logits, const SampleParams& params,
             double uniform) {
  if (backend != test::kCuda) {
    return cpu::sample(logits, params, {}, uniform);
  }
  const std::vector<int32_t> best = greedy(backend, logits, 1, std::ssize(logits));
  int32_t id = INT32_MAX;
  test::DeviceMirror mirror;
  cuda::draw({.vocab_size = std::ssize(logits),
              .logits = mirror.input(logits),
              .best_id = mirror.input(best),
              .sampling = params,
              .uniform = uniform,
              .id = mirror.output(&id, 1)},
             mirror.stream());
  mirror.finish();
  return id;
}

// Every draw lies where the distribution function has it, within what weights in f32 can tell.
void expect_draws(int64_t backend, const std::vector<float>& logits, const SampleParams& params) {
  constexpr double kTolerance = 1e-5;
  constexpr int kDraws = 32;
  SCOPED_TRACE(testing::Message() << logits.size() << " tokens, temperature " << params.temperature
                                  << ", top_k " << params.top_k << ", top_p " << params.top_p
                                  << ", min_p " << params.min_p);
  const std::map<int32_t, double> shares = distribution(logits, params);
  for (int i = 0; i <= kDraws; ++i) {
    const double uniform = i == kDraws ? std::nextafter(1.0, 0.0) : 1.0 * i / kDraws;
    const int32_t id = draw(backend, logits, params, uniform);
    ASSERT_TRUE(shares.contains(id)) << id;
    double below = 0;
    for (const auto& [other, share] : shares) {
      below += other < id ? share : 0;
    }
    EXPECT_GE(uniform, below - kTolerance);
    EXPECT_LE(uniform, below + shares.at(id) + kTolerance);
  }
}

TEST(Sample, DrawsFromWhatSortingEverythingKeeps) {
  const std::vector<SampleParams> settings = {
      {.temperature = 1},
      {.temperature = 0.05},
      {.temperature = 1e-300},
      {.temperature = 4, .top_p = 0.999},
      {.temperature = 1, .top_k = 1},
      {.temperature = 2, .top_k = 7},
      {.temperature = 8, .top_k = 300},
      {.temperature = 3, .top_k = 2500, .top_p = 0.9},
      {.temperature = 1, .top_p = 0},
      {.temperature = 1, .top_p = 0.5},
      {.temperature = 1, .min_p = 0.02},
      {.temperature = 2, .top_k = 50, .top_p = 0.9, .min_p = 0.3},
  };
  for (const int64_t backend : test::backends()) {
    const test::BackendScope scope(backend);
    SCOPED_TRACE(test::backend_name(backend));
    test::Random random;
    for (const int64_t size : {1, 2, 255, 256, 257, 3000, 40000}) {
      std::vector<float> logits = random.normals(size, 3);
      for (size_t i = 5; i < logits.size(); i += 7) {  // equal ones, and what counts as nothing
        logits[i] = i % 3 == 0 ? logits[i - 1] : i % 3 == 1 ? -kInf : std::nanf("");
      }
      for (const SampleParams& params : settings) {
        expect_draws(backend, logits, params);
      }
    }
    const std::vector<float> equal(5000, 1.5F);
    for (const SampleParams& params : settings) {
      expect_draws(backend, equal, params);
    }
  }
}

// The same on every backend.
TEST(Sample, WhatIsNotFiniteIsTakenOrLeft) {
  const SampleParams params = {.temperature = 1, .top_k = 2, .top_p = 0.5};
  for (const int64_t backend : test::backends()) {
    const test::BackendScope scope(backend);
    SCOPED_TRACE(test::backend_name(backend));
    EXPECT_EQ(draw(backend, {std::nanf(""), -kInf, -kInf}, params, 0.9), 0);
    EXPECT_EQ(draw(backend, {1, kInf, 2, kInf}, params, 0.9), 1);
    EXPECT_EQ(draw(backend, {std::nanf(""), std::nanf("")}, params, 0.9), 0);
    EXPECT_EQ(draw(backend, {std::nanf(""), -5, -kInf}, params, 0.9), 1);
  }
}

TEST(Greedy, TakesTheLowestOfTheLargestOnEveryBackend) {
  for (const int64_t backend : test::backends()) {
    const test::BackendScope scope(backend);
    SCOPED_TRACE(test::backend_name(backend));
    for (const int64_t vocab_size : {1, 61, 49152, 151936}) {
      // Rows: random; all equal; the largest at both ends; only negative; -inf but for one; +inf.
      const int64_t stride = vocab_size + 3;
      std::vector<float> logits = test::Random().normals(6 * stride);
      const auto row = [&](int64_t r) { return logits.begin() + r * stride; };
      std::fill_n(row(1), vocab_size, -0.0F);
      *(row(1) + vocab_size / 2) = 0.0F;  // equals the others
      *row(2) = *(row(2) + vocab_size - 1) = 99;
      std::for_each(row(3), row(4), [](float& logit) { logit = -std::fabs(logit); });
      std::fill_n(row(4), vocab_size, -kInf);
      *(row(4) + vocab_size - 1) = -1e30F;
      *(row(5) + vocab_size / 3) = kInf;
      for (int64_t r = 0; r < 6; ++r) {
        std::fill_n(row(r) + vocab_size, 3, 1e9F);  // padding, beyond every logit
      }
      std::vector<int32_t> expected;
      for (int64_t r = 0; r < 6; ++r) {
        expected.push_back(
            static_cast<int32_t>(std::max_element(row(r), row(r) + vocab_size) - row(r)));
      }
      EXPECT_EQ(greedy(backend, logits, 6, vocab_size), expected);
      EXPECT_EQ(expected[2], 0);
      EXPECT_EQ(expected[4], vocab_size - 1);
    }
  }
}

TEST(LogSumExp, SurvivesLargeAndInfiniteLogits) {
  EXPECT_NEAR(cpu::log_sum_exp(std::vector<float>{1000, 1000}), 1000 + std::log(2.0), 1e-12);
  EXPECT_NEAR(cpu::log_sum_exp(std::vector<float>{-2000, -kInf}), -2000, 1e-12);
  EXPECT_EQ(cpu::log_sum_exp(std::vector<float>{-kInf, -kInf}), -kInf);
  EXPECT_NEAR(cpu::log_prob(std::vector<float>{0, 0, 0, 0}, 2), -std::log(4.0), 1e-12);
}

TEST(LogSumExp, IsNanWhereALogitIs) {
  for (const size_t place : std::initializer_list<size_t>{0, 7, 300, 1000}) {
    std::vector<float> logits(1001, 0.5F);
    logits[place] = std::nanf("");
    EXPECT_TRUE(std::isnan(cpu::log_sum_exp(logits))) << place;
  }
}

TEST(LogSumExp, IsSummedInDouble) {
  // 4 million equal terms: an f32 sum would stall at 2^24 / 4.
  const std::vector<float> logits(1 << 22, -3.25F);
  EXPECT_NEAR(cpu::log_sum_exp(logits), -3.25 + 22 * std::log(2.0), 1e-9);
  test::Random random;
  const std::vector<float> mixed = random.normals(49152, 4);
  long double sum = 0;
  for (const float logit : mixed) {
    sum += std::exp(static_cast<long double>(logit));
  }
  EXPECT_NEAR(cpu::log_sum_exp(mixed), static_cast<double>(std::log(sum)), 1e-9);
}

}  // namespace
}  // namespace lychee::sampling
