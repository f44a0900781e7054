#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <ostream>
#include <string>
#include <tuple>

#include "kernels/attention/score_sets.h"
#include "kernels/attention/select_tokens.h"
#include "kernels/attention_support.h"
#include "support/random.h"
#include "tensor/buffer.h"
#include "tensor/device.h"

namespace lychee::attention {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr int32_t kUnused = std::numeric_limits<int32_t>::max();

using Sets = std::vector<std::vector<int32_t>>;
using SelectFn = void (*)(const SelectTokensParams&);

// Rows of different lengths, each followed by NaN that no one may read.
Sets run_select(SelectFn select, const std::vector<std::vector<float>>& rows,
                const Selection& selection, float scale) {
  size_t max_len = 0;
  std::vector<int64_t> kv_lens;
  for (const auto& row : rows) {
    kv_lens.push_back(static_cast<int64_t>(row.size()));
    max_len = std::max(max_len, row.size());
  }
  const size_t stride = max_len + 3;
  const auto ids_stride =
      static_cast<size_t>(max_selected(selection, static_cast<int64_t>(max_len)));
  std::vector<float> scores(stride * rows.size(), kInf);
  std::vector<int32_t> ids((ids_stride + 1) * rows.size(), kUnused);
  std::vector<int32_t> num_ids(rows.size(), kUnused);
  for (size_t r = 0; r < rows.size(); ++r) {
    std::copy(rows[r].begin(), rows[r].end(), scores.begin() + static_cast<int64_t>(r * stride));
  }
  SelectTokensParams params{.num_rows = static_cast<int>(rows.size()),
                            .scores = scores.data(),
                            .scores_stride = static_cast<int64_t>(stride),
                            .kv_lens = kv_lens.data(),
                            .selection = selection,
                            .scale = scale,
                            .token_ids = ids.data(),
                            .token_ids_stride = static_cast<int64_t>(ids_stride + 1),
                            .num_ids = num_ids.data(),
                            .workspace = nullptr};
  select(params);
  Sets sets;
  for (size_t r = 0; r < rows.size(); ++r) {
    const auto begin = ids.begin() + static_cast<int64_t>(r * (ids_stride + 1));
    sets.emplace_back(begin, begin + num_ids[r]);
    const int64_t most = max_selected(selection, kv_lens[r]);
    EXPECT_EQ(std::count(begin + most, begin + static_cast<int64_t>(ids_stride + 1), kUnused),
              static_cast<int64_t>(ids_stride + 1) - most)
        << "row " << r << " overflowed";
  }
  return sets;
}

void select_on_cpu(const SelectTokensParams& params) {
  SelectTokensParams p = params;
  Buffer workspace(cpu::select_tokens_workspace_bytes(params) + 64);
  p.workspace = workspace.data();
  cpu::select_tokens(p);
}

void select_on_cuda(const SelectTokensParams& params) {
  test::DeviceMirror mirror;
  SelectTokensParams p = params;
  p.scores = mirror.input(params.scores, params.num_rows * params.scores_stride);
  p.kv_lens = mirror.input(params.kv_lens, params.num_rows / params.rows_per_kv_len);
  p.active = mirror.input(params.active, params.num_rows);
  p.token_ids = mirror.output(params.token_ids, params.num_rows * params.token_ids_stride);
  p.num_ids = mirror.output(params.num_ids, params.num_rows);
  p.workspace = mirror.scratch(cuda::select_tokens_workspace_bytes(params));
  cuda::select_tokens(p, mirror.stream());
  mirror.finish();
}

SelectFn select_on(const Backend& backend) {
  return backend.cuda ? &select_on_cuda : &select_on_cpu;
}

enum class Pattern {
  kNormal,
  kAllEqual,
  kTwoValues,
  kDenormals,
  kInfinities,
  kNans,
  kAllNan,
  kZeros,
  kOutlier,
  kAscending,
  kDescending,
};

std::vector<float> make_scores(Pattern pattern, int64_t count, test::Random& random) {
  std::vector<float> scores = random.normals(count, 3);
  for (size_t i = 0; i < scores.size(); ++i) {
    const int64_t pick = random.integer(0, 9);
    switch (pattern) {
      case Pattern::kNormal:
        break;
      case Pattern::kAllEqual:
        scores[i] = -1.5F;
        break;
      case Pattern::kTwoValues:
        scores[i] = pick < 3 ? 1.0F : std::nextafter(1.0F, 0.0F);
        break;
      case Pattern::kDenormals:
        scores[i] = std::bit_cast<float>(static_cast<uint32_t>(random.integer(0, 40))) *
                    (pick < 5 ? 1.0F : -1.0F);
        break;
      case Pattern::kInfinities:
        scores[i] = pick == 0 ? kInf : (pick < 5 ? -kInf : scores[i]);
        break;
      case Pattern::kNans:
        scores[i] = pick < 8 ? (pick < 4 ? kNan : -kNan) : (pick == 8 ? -kInf : scores[i]);
        break;
      case Pattern::kAllNan:
        scores[i] = kNan;
        break;
      case Pattern::kZeros:
        scores[i] = pick < 5 ? 0.0F : -0.0F;
        break;
      case Pattern::kOutlier:
        scores[i] = static_cast<int64_t>(i) == count / 2 ? 1e30F : scores[i] * 1e-3F;
        break;
      case Pattern::kAscending:
        scores[i] = static_cast<float>(i) * 1e-3F;
        break;
      case Pattern::kDescending:
        scores[i] = -static_cast<float>(i) * 1e-3F;
        break;
    }
  }
  return scores;
}

constexpr std::pair<const char*, Pattern> kPatterns[] = {
    {"normal", Pattern::kNormal},         {"all_equal", Pattern::kAllEqual},
    {"two_values", Pattern::kTwoValues},  {"denormals", Pattern::kDenormals},
    {"infinities", Pattern::kInfinities}, {"nans", Pattern::kNans},
    {"all_nan", Pattern::kAllNan},        {"zeros", Pattern::kZeros},
    {"outlier", Pattern::kOutlier},       {"ascending", Pattern::kAscending},
    {"descending", Pattern::kDescending}};

struct Rule {
  const char* name;
  Selection selection;
};

void PrintTo(const Rule& rule, std::ostream* out) {
  *out << rule.name;
}

const Rule kRules[] = {
    {"topk", {.mode = SelectMode::kTopK, .budget = 100, .sink = 7, .recent = 13}},
    {"topk_forced_only", {.mode = SelectMode::kTopK, .budget = 20, .sink = 7, .recent = 13}},
    {"topk_no_sink", {.mode = SelectMode::kTopK, .budget = 5, .sink = 0, .recent = 1}},
    {"block", {.mode = SelectMode::kBlock, .budget = 512, .sink = 65, .recent = 70}},
    {"block_no_sink", {.mode = SelectMode::kBlock, .budget = 128, .sink = 0, .recent = 1}},
    {"block_tight", {.mode = SelectMode::kBlock, .budget = 384, .sink = 128, .recent = 130}},
    {"ratio", {.mode = SelectMode::kRatio, .sink = 3, .recent = 5, .ratio = 0.13}},
    {"ratio_all", {.mode = SelectMode::kRatio, .sink = 3, .recent = 5, .ratio = 1.0}},
    {"mass", {.mode = SelectMode::kMass, .budget = 200, .sink = 3, .recent = 5, .mass = 0.7}},
    {"mass_one", {.mode = SelectMode::kMass, .budget = 90, .sink = 0, .recent = 1, .mass = 1}},
    {"mass_tiny", {.mode = SelectMode::kMass, .budget = 90, .sink = 4, .recent = 4, .mass = 1e-9}},
    {"threshold",
     {.mode = SelectMode::kThreshold, .budget = 60, .sink = 3, .recent = 5, .threshold = 2e-3}},
    {"threshold_zero",
     {.mode = SelectMode::kThreshold, .budget = 60, .sink = 0, .recent = 2, .threshold = 0}},
    {"threshold_high",
     {.mode = SelectMode::kThreshold, .budget = 60, .sink = 1, .recent = 2, .threshold = 0.9}},
};

class SelectTokensTest
    : public testing::TestWithParam<std::tuple<Rule, std::pair<const char*, Pattern>>> {};

TEST_P(SelectTokensTest, EqualsStableSort) {
  const auto& [rule, pattern] = GetParam();
  validate(rule.selection);
  test::Random random;
  std::vector<std::vector<float>> rows;
  for (const int64_t kv_len :
       {1, 2, 53, 61, 100, 101, 129, 511, 513, 640, 700, 1000, 4097, 20000}) {
    rows.push_back(make_scores(pattern.second, kv_len, random));
  }
  const Sets expected = run_select(&reference::select_tokens, rows, rule.selection, 0.125F);
  for (const Backend& backend : backends()) {
    const BackendScope scope(backend);
    const Sets actual = run_select(select_on(backend), rows, rule.selection, 0.125F);
    for (size_t r = 0; r < rows.size(); ++r) {
      EXPECT_EQ(actual[r], expected[r])
          << "row of " << rows[r].size() << " tokens, " << backend.name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Rules, SelectTokensTest,
                         testing::Combine(testing::ValuesIn(kRules), testing::ValuesIn(kPatterns)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param).name) + '_' +
                                  std::get<1>(info.param).first;
                         });

TEST(SelectTokens, MillionTokens) {
  test::Random random;
  const std::vector<std::vector<float>> rows = {
      make_scores(Pattern::kNormal, 1 << 20, random),
      make_scores(Pattern::kTwoValues, (1 << 20) - 1, random)};
  for (const SelectMode mode : {SelectMode::kTopK, SelectMode::kBlock, SelectMode::kRatio}) {
    const Selection selection{.mode = mode};
    const Sets expected = run_select(&reference::select_tokens, rows, selection, 0.125F);
    EXPECT_EQ(run_select(&select_on_cpu, rows, selection, 0.125F), expected)
        << select_mode_name(mode);
    if (cuda_available()) {
      EXPECT_EQ(run_select(&select_on_cuda, rows, selection, 0.125F), expected)
          << select_mode_name(mode);
    }
  }
}

// The best scores stand exactly where a sampled threshold looks, so that it lets too few through.
TEST(SelectTokens, ScoresThatDeceiveSampling) {
  test::Random random;
  constexpr int64_t kCount = 512 * 13;
  std::vector<float> scores = make_scores(Pattern::kNormal, kCount, random);
  for (int64_t i = 0; i < 512; ++i) {
    scores[static_cast<size_t>(i * (kCount - 1) / 512)] = 100 + static_cast<float>(i % 7);
  }
  const Selection selection{.mode = SelectMode::kTopK, .budget = 1000, .sink = 0, .recent = 1};
  EXPECT_EQ(run_select(&select_on_cpu, {scores}, selection, 1),
            run_select(&reference::select_tokens, {scores}, selection, 1));
}

// Inference always reads the current token; training under the published chain forces none.
TEST(SelectTokens, WithoutForcedTokens) {
  test::Random random;
  std::vector<std::vector<float>> rows;
  for (const int64_t kv_len : {1, 2, 7, 100, 2047, 5000}) {
    rows.push_back(make_scores(Pattern::kDescending, kv_len, random));  // the last are never best
    rows.push_back(make_scores(Pattern::kNormal, kv_len, random));
  }
  for (const SelectMode mode : {SelectMode::kTopK, SelectMode::kRatio}) {
    const Selection selection{.mode = mode, .budget = 40, .sink = 0, .recent = 0, .ratio = 0.3};
    const Sets expected = run_select(&reference::select_tokens, rows, selection, 0.125F);
    for (const Backend& backend : backends()) {
      const BackendScope scope(backend);
      EXPECT_EQ(run_select(select_on(backend), rows, selection, 0.125F), expected)
          << select_mode_name(mode) << ", " << backend.name;
    }
  }
}

// On a GPU so many that each row has one block instead of a cluster.
TEST(SelectTokens, ManyRows) {
  test::Random random;
  std::vector<std::vector<float>> rows;
  for (int64_t row = 0; row < 400; ++row) {
    rows.push_back(make_scores(row % 2 == 0 ? Pattern::kNormal : Pattern::kTwoValues,
                               row == 7 ? 70000 : 200 + 3 * row, random));
  }
  for (const SelectMode mode : {SelectMode::kTopK, SelectMode::kBlock, SelectMode::kRatio}) {
    const Selection selection{.mode = mode, .budget = 256, .sink = 4, .recent = 16, .ratio = 0.02};
    const Sets expected = run_select(&reference::select_tokens, rows, selection, 0.125F);
    for (const Backend& backend : backends()) {
      const BackendScope scope(backend);
      EXPECT_EQ(run_select(select_on(backend), rows, selection, 0.125F), expected)
          << select_mode_name(mode) << ", " << backend.name;
    }
  }
}

// Against literals, since the two implementations could share a misreading.
TEST(SelectTokens, FollowsTheRulesByHand) {
  //                                0  1  2  3  4  5  6  7  8  9
  const std::vector<float> scores{9, 0, 5, 7, 7, 1, 7, 8, 3, 2};
  const auto select = [&](const Selection& selection) {
    return run_select(&select_on_cpu, {scores}, selection, 1).front();
  };
  Selection selection{.mode = SelectMode::kTopK, .budget = 5, .sink = 1, .recent = 2};
  EXPECT_EQ(select(selection), (std::vector<int32_t>{0, 3, 7, 8, 9}));
  selection.budget = 6;
  EXPECT_EQ(select(selection), (std::vector<int32_t>{0, 3, 4, 7, 8, 9}));
  selection.budget = 10;
  EXPECT_EQ(select(selection), (std::vector<int32_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  // Shares: token 0 has 0.557, token 7 0.205, tokens 3, 4 and 6 0.075 each.
  selection.budget = 9;
  selection.mode = SelectMode::kThreshold;
  selection.threshold = 0.07;
  EXPECT_EQ(select(selection), (std::vector<int32_t>{0, 3, 4, 6, 7, 8, 9}));
  selection.mode = SelectMode::kMass;
  selection.mass = 0.8;
  EXPECT_EQ(select(selection), (std::vector<int32_t>{0, 3, 7, 8, 9}));
  selection.mass = 0.5;
  EXPECT_EQ(select(selection), (std::vector<int32_t>{0, 8, 9}));
  selection = {.mode = SelectMode::kRatio, .sink = 0, .recent = 1, .ratio = 0.21};
  EXPECT_EQ(select(selection), (std::vector<int32_t>{0, 7, 9}));
}

TEST(SelectTokens, BlocksByHand) {
  std::vector<float> scores(64 * 6 + 1, 0.0F);
  scores[64 * 2 + 63] = 1;
  scores[64 * 4] = 1;
  const Selection selection{.mode = SelectMode::kBlock, .budget = 256, .sink = 1, .recent = 1};
  // Block 0 holds the sink, block 6 (one token) the last one; 2 and 4 score best.
  std::vector<int32_t> expected;
  for (const int32_t block : {0, 2, 4}) {
    for (int32_t i = 0; i < 64; ++i) {
      expected.push_back(block * 64 + i);
    }
  }
  expected.push_back(64 * 6);
  EXPECT_EQ(run_select(&select_on_cpu, {scores}, selection, 1).front(), expected);
  scores[64 * 2 + 63] = kNan;
  scores[64 * 4] = kNan;
  // All equal now: the lower blocks win.
  std::iota(expected.begin(), expected.end() - 1, 0);
  EXPECT_EQ(run_select(&select_on_cpu, {scores}, selection, 1).front(), expected);
}

class SelectCudaTest : public testing::TestWithParam<Backend> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(SelectCudaTest);
INSTANTIATE_TEST_SUITE_P(Cuda, SelectCudaTest, testing::ValuesIn(cuda_backends()),
                         [](const auto& info) { return info.param.name; });

TEST_P(SelectCudaTest, LeavesInactiveRowsAlone) {
  test::Random random;
  constexpr int kHeads = 3;
  const std::vector<int64_t> kv_lens = {5000, 300};
  const std::vector<float> scores = random.normals(2 * kHeads * 5000);
  const std::vector<uint8_t> active = {1, 0, 1, 0, 1, 0};
  std::vector<int32_t> ids(2 * kHeads * 400, kUnused);
  std::vector<int32_t> num_ids(2 * kHeads, kUnused);
  SelectTokensParams params{.num_rows = 2 * kHeads,
                            .scores = scores.data(),
                            .scores_stride = 5000,
                            .kv_lens = kv_lens.data(),
                            .selection = {.budget = 400, .sink = 10, .recent = 10},
                            .scale = 1,
                            .token_ids = ids.data(),
                            .token_ids_stride = 400,
                            .num_ids = num_ids.data(),
                            .workspace = nullptr,
                            .active = active.data(),
                            .rows_per_kv_len = kHeads};
  select_on_cuda(params);
  for (size_t row = 0; row < active.size(); ++row) {
    const auto begin = ids.begin() + static_cast<int64_t>(row) * 400;
    if (active[row] == 0) {
      EXPECT_EQ(num_ids[row], kUnused);
      EXPECT_EQ(std::count(begin, begin + 400, kUnused), 400);
      continue;
    }
    const auto first = scores.begin() + static_cast<int64_t>(row) * 5000;
    const std::vector<float> own(first, first + kv_lens[row / kHeads]);
    EXPECT_EQ(std::vector<int32_t>(begin, begin + num_ids[row]),
              run_select(&reference::select_tokens, {own}, params.selection, 1).front());
  }
}

TEST_P(SelectCudaTest, StreamingSetsAreSinkAndRecent) {
  const std::vector<int64_t> kv_lens = {3, 8, 9, 1000};
  std::vector<int32_t> ids(4 * 8, kUnused);
  std::vector<int32_t> num_ids(4, -1);
  test::DeviceMirror mirror;
  StreamingSetParams params{.num_rows = 4,
                            .kv_lens = mirror.input(kv_lens),
                            .selection = {.budget = 8, .sink = 3, .recent = 2},
                            .token_ids = mirror.output(ids),
                            .token_ids_stride = 8,
                            .num_ids = mirror.output(num_ids)};
  cuda::write_streaming_sets(params, mirror.stream());
  mirror.finish();
  EXPECT_EQ(num_ids, (std::vector<int32_t>{3, 8, 8, 8}));
  EXPECT_EQ(ids,
            (std::vector<int32_t>{0, 1, 2, kUnused, kUnused, kUnused, kUnused, kUnused, 0,   1,  2,
                                  3, 4, 5, 6,       7,       0,       1,       2,       4,   5,  6,
                                  7, 8, 0, 1,       2,       995,     996,     997,     998, 999}));
}

TEST_P(SelectCudaTest, SumsScoresOverHeads) {
  test::Random random;
  const std::vector<int64_t> kv_lens = {700, 9};
  std::vector<float> scores = random.normals(2 * 3 * 710);
  const std::vector<float> before = scores;
  test::DeviceMirror mirror;
  cuda::sum_scores({.batch = 2,
                    .num_kv_heads = 3,
                    .kv_lens = mirror.input(kv_lens),
                    .scores = mirror.output(scores),
                    .scores_stride = 710},
                   mirror.stream());
  mirror.finish();
  for (size_t i = 0; i < scores.size(); ++i) {
    const size_t row = i / (3 * 710);
    const bool summed = i / 710 % 3 == 0 && static_cast<int64_t>(i % 710) < kv_lens[row];
    EXPECT_EQ(scores[i], summed ? before[i] + before[i + 710] + before[i + 1420] : before[i]);
  }
}

}  // namespace
}  // namespace lychee::attention
