#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <ostream>
#include <string>
#include <string_view>
#include <tuple>

#include "kernels/attention/hybrid_decode.h"
#include "kernels/attention/rotate_append.h"
#include "kernels/attention_support.h"
#include "support/compare.h"
#include "tensor/buffer.h"

namespace lychee::attention {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Case {
  const char* name;
  std::vector<int64_t> kv_lens;
  int num_q_heads, num_kv_heads, head_dim;
  // One letter per (row, KV head), cycled: d dense, s dense with scores, a set of all tokens,
  // e empty set, h set of half of the tokens, 1 set of one token.
  const char* heads;
  int64_t stride_padding = 0;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

const std::vector<Case>& cases() {
  static const std::vector<Case> kCases = {
      {"one_token", {1}, 8, 8, 64, "s"},
      {"smollm2", {600}, 9, 3, 64, "sdh"},
      {"mha", {53, 61, 129}, 4, 4, 64, "dsah", 8},
      {"gqa_128", {300}, 16, 4, 128, "sdeh"},
      {"mqa_16", {257}, 16, 1, 64, "s"},
      {"group_of_7", {130, 64}, 14, 2, 64, "hs"},
      {"group_of_6_128", {63, 65}, 12, 2, 128, "1s", 8},
      {"group_of_20", {70}, 40, 2, 16, "sh"},
      {"dim_8", {53}, 2, 2, 8, "sh"},
      {"dim_16", {61, 200}, 6, 3, 16, "shed"},
      {"dim_24", {129}, 4, 2, 24, "sh", 8},
      {"dim_40", {129}, 3, 1, 40, "s"},
      {"dim_80", {255}, 4, 2, 80, "hs"},
      {"dim_96", {255}, 4, 2, 96, "sa"},
      {"dim_256", {77}, 4, 2, 256, "sh", 24},
      {"mqa_16_128", {400, 33}, 16, 1, 128, "sh"},
      {"many_kv_heads", {150, 90}, 64, 32, 64, "shda"},
      {"more_kv_heads", {150}, 40, 40, 64, "shd"},
      {"ragged_parts", {9000, 17, 4100, 300}, 8, 2, 128, "shda"},
      {"several_chunks", {1537, 3, 700}, 4, 2, 32, "shahed"},
      {"empty_sets", {40, 9}, 4, 2, 64, "e"},
      {"long", {40001}, 2, 1, 8, "s"},
  };
  return kCases;
}

// Everything one call needs, its outputs poisoned.
struct Call {
  explicit Call(const Case& c, DType dtype)
      : random(test::kSeed),
        kv_lens(c.kv_lens),
        cache(dtype, c.num_kv_heads, c.head_dim, c.kv_lens, c.stride_padding, random) {
    const auto batch = static_cast<int64_t>(kv_lens.size());
    const int64_t items = batch * c.num_kv_heads;
    const int64_t max_len = *std::max_element(kv_lens.begin(), kv_lens.end());
    q = random.normals(batch * c.num_q_heads * c.head_dim);
    out.assign(q.size(), kNan);
    lse.assign(static_cast<size_t>(batch * c.num_q_heads), kNan);
    scores.assign(static_cast<size_t>(items * (max_len + 3)), kNan);
    token_ids.assign(static_cast<size_t>(items * (max_len + 5)),
                     std::numeric_limits<int32_t>::max());
    const std::string_view heads = c.heads;
    for (int64_t item = 0; item < items; ++item) {
      const char kind = heads[static_cast<size_t>(item) % heads.size()];
      const int64_t kv_len = kv_lens[static_cast<size_t>(item / c.num_kv_heads)];
      const bool dense = kind == 'd' || kind == 's';
      set_of_head.push_back(dense ? HybridDecodeParams::kDense : static_cast<int32_t>(item));
      emit.push_back(kind == 's' ? 1 : 0);
      num_ids.push_back(dense ? 0 : make_set(kind, kv_len, item * (max_len + 5)));
    }
    params = {.batch = static_cast<int>(batch),
              .num_q_heads = c.num_q_heads,
              .num_kv_heads = c.num_kv_heads,
              .head_dim = c.head_dim,
              .scale = 1 / std::sqrt(static_cast<float>(c.head_dim)),
              .q = q.data(),
              .page_tables = cache.page_tables(),
              .page_table_stride = cache.page_table_stride(),
              .kv_lens = kv_lens.data(),
              .kv = cache.view(),
              .set_of_head = set_of_head.data(),
              .token_ids = token_ids.data(),
              .token_ids_stride = max_len + 5,
              .num_ids = num_ids.data(),
              .scores = scores.data(),
              .scores_stride = max_len + 3,
              .emit_scores = emit.data(),
              .out = out.data(),
              .lse = lse.data(),
              .workspace = nullptr};
  }

  int32_t make_set(char kind, int64_t kv_len, int64_t at) {
    std::vector<int32_t> ids(static_cast<size_t>(kv_len));
    std::iota(ids.begin(), ids.end(), 0);
    random.shuffle(ids);
    const int64_t count =
        kind == 'e' ? 0 : (kind == '1' ? 1 : (kind == 'h' ? (kv_len + 1) / 2 : kv_len));
    std::copy_n(ids.begin(), count, token_ids.begin() + at);
    return static_cast<int32_t>(count);
  }

  void run_cpu() {
    workspace = Buffer(cpu::hybrid_decode_workspace_bytes(params) + 64);
    std::fill_n(workspace.data(), workspace.bytes(), std::byte{0xff});
    params.workspace = workspace.data();
    cpu::hybrid_decode(params);
  }

  // The newest tokens are normed, rotated and appended by a launch of their own, or by attention.
  enum class Newest { kStored, kApart, kByAttention };

  void run_cuda(int num_runs = 1, int64_t only_row = -1, Newest handled = Newest::kStored) {
    test::DeviceMirror mirror;
    HybridDecodeParams p = params;
    float* const queries = mirror.output(q);
    p.q = queries;
    p.page_tables = cache.page_tables_on(mirror);
    p.kv_lens = mirror.input(kv_lens);
    p.kv = cache.view_on(mirror);
    p.set_of_head = mirror.input(set_of_head);
    p.token_ids = mirror.input(token_ids);
    p.num_ids = mirror.input(num_ids);
    p.scores = params.scores == nullptr ? nullptr : mirror.output(scores);
    p.emit_scores = params.emit_scores == nullptr ? nullptr : mirror.input(emit);
    p.out = params.out == nullptr ? nullptr : mirror.output(out);
    p.rounded_out = rounded_out.empty() ? nullptr : mirror.output(rounded_out);
    p.lse = params.lse == nullptr ? nullptr : mirror.output(lse);
    p.workspace = mirror.scratch(cuda::hybrid_decode_workspace_bytes(p));
    const int64_t arrivals_bytes =
        cuda::hybrid_decode_num_arrivals(p) * static_cast<int64_t>(sizeof(int32_t));
    p.arrivals = static_cast<int32_t*>(mirror.scratch(arrivals_bytes, 0));
    if (only_row >= 0) {
      select_row(p, only_row);
    }
    if (handled != Newest::kStored) {
      p.newest = newest_on(mirror);
    }
    if (handled == Newest::kApart) {
      cuda::rotate_append_rows({.batch = p.batch,
                                .num_q_heads = p.num_q_heads,
                                .num_kv_heads = p.num_kv_heads,
                                .head_dim = p.head_dim,
                                .q = queries,
                                .q_stride = int64_t{p.num_q_heads} * p.head_dim,
                                .newest = p.newest,
                                .page_tables = p.page_tables,
                                .page_table_stride = p.page_table_stride,
                                .kv_lens = p.kv_lens,
                                .kv = p.kv},
                               mirror.stream());
      p.newest = {};
    }
    for (int run = 0; run < num_runs; ++run) {  // counters must come back to zero
      cuda::hybrid_decode(p, mirror.stream());
    }
    mirror.finish();
  }

  // Random ones, with norms of their heads or without, and room between rows.
  void make_newest(bool norms) {
    const int64_t row = 2 * int64_t{params.num_kv_heads} * params.head_dim;
    params.newest.kv_stride = row + 8;
    newest_kv = random.normals(params.batch * params.newest.kv_stride);
    rope_table = random.normals(int64_t{params.batch} * params.head_dim);
    q_norm = random.normals(params.head_dim);
    k_norm = random.normals(params.head_dim);
    has_norms = norms;
  }
  NewestTokens newest_on(test::DeviceMirror& mirror) {
    const float* const kv = mirror.input(newest_kv);
    return {.k = kv,
            .v = kv + int64_t{params.num_kv_heads} * params.head_dim,
            .kv_stride = params.newest.kv_stride,
            .q_norm = has_norms ? mirror.input(q_norm) : nullptr,
            .k_norm = has_norms ? mirror.input(k_norm) : nullptr,
            .norm_eps = 1e-5F,
            .rope_table = mirror.input(rope_table)};
  }

  // A batch of row `row` alone, whose results land where those of the whole batch would.
  void run_row(const Backend& backend, int64_t row) {
    if (backend.cuda) {
      run_cuda(1, row);
      return;
    }
    select_row(params, row);
    run_cpu();
  }
  static void select_row(HybridDecodeParams& p, int64_t row) {
    p.batch = 1;
    p.q += row * p.num_q_heads * p.head_dim;
    p.page_tables += row * p.page_table_stride;
    p.kv_lens += row;
    p.set_of_head += row * p.num_kv_heads;
    p.emit_scores += row * p.num_kv_heads;
    p.scores += row * p.num_kv_heads * p.scores_stride;
    p.out += row * p.num_q_heads * p.head_dim;
    p.lse += row * p.num_q_heads;
  }

  void run(const Backend& backend) { backend.cuda ? run_cuda() : run_cpu(); }

  // The f32 formula, item by item.
  void run_plain() {
    const int group_size = params.num_q_heads / params.num_kv_heads;
    for (int64_t q_row = 0; q_row < int64_t{params.batch} * params.num_q_heads; ++q_row) {
      const int64_t item = q_row / group_size;
      const int64_t row = item / params.num_kv_heads;
      const int64_t kv_len = kv_lens[static_cast<size_t>(row)];
      const int32_t* ids = token_ids.data() + item * params.token_ids_stride;
      std::vector<int64_t> positions(ids, ids + num_ids[static_cast<size_t>(item)]);
      if (set_of_head[static_cast<size_t>(item)] == HybridDecodeParams::kDense) {
        positions.resize(static_cast<size_t>(kv_len));
        std::iota(positions.begin(), positions.end(), 0);
      }
      lse[static_cast<size_t>(q_row)] =
          plain_attention(q.data() + q_row * params.head_dim, params.kv, cache.page_table(row),
                          item % params.num_kv_heads, positions, params.head_dim, params.scale,
                          out.data() + q_row * params.head_dim);
      if (emit[static_cast<size_t>(item)] != 0 && q_row % group_size == 0) {
        for (int64_t position = 0; position < kv_len; ++position) {
          scores[static_cast<size_t>(item * params.scores_stride + position)] = plain_score(
              q.data() + q_row * params.head_dim, group_size, params.kv, cache.page_table(row),
              item % params.num_kv_heads, position, params.head_dim);
        }
      }
    }
  }

  test::Random random;
  std::vector<int64_t> kv_lens;
  PagedCache cache;
  std::vector<float> q, out, lse, scores;
  std::vector<int32_t> set_of_head, token_ids, num_ids;
  std::vector<uint8_t> emit;
  std::vector<bf16> rounded_out;  // empty: not wanted
  std::vector<float> newest_kv, rope_table, q_norm, k_norm;
  bool has_norms = false;
  Buffer workspace;
  HybridDecodeParams params{};
};

// What was not asked for must still be poison.
std::vector<float> with_poison_as(float marker, std::vector<float> values) {
  std::replace_if(
      values.begin(), values.end(), [](float value) { return std::isnan(value); }, marker);
  return values;
}

class HybridDecodeTest : public testing::TestWithParam<std::tuple<Backend, DType, Case>> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(HybridDecodeTest);

TEST_P(HybridDecodeTest, IsAsGoodAsPlainLoop) {
  const auto& [backend, dtype, c] = GetParam();
  const BackendScope scope(backend);
  Call actual(c, dtype);
  Call plain(c, dtype);
  Call expected(c, dtype);
  actual.run(backend);
  plain.run_plain();
  reference::hybrid_decode(expected.params);
  EXPECT_TRUE(test::as_good_as_plain(actual.out, plain.out, expected.out, 1e-6));
  EXPECT_TRUE(test::as_good_as_plain(actual.lse, plain.lse, expected.lse, 1e-6));
  constexpr float kPoison = 12345;
  EXPECT_TRUE(test::as_good_as_plain(with_poison_as(kPoison, actual.scores),
                                     with_poison_as(kPoison, plain.scores),
                                     with_poison_as(kPoison, expected.scores), 1e-6));
}

INSTANTIATE_TEST_SUITE_P(Cases, HybridDecodeTest,
                         testing::Combine(testing::ValuesIn(backends()),
                                          testing::Values(DType::kF32, DType::kF16, DType::kBF16),
                                          testing::ValuesIn(cases())),
                         case_name<Case>);
// A block of an H100 goes through its ring of tiles twice.
const Case kTwoRounds{"two_rounds", {49157}, 2, 2, 128, "sd"};
INSTANTIATE_TEST_SUITE_P(LongCases, HybridDecodeTest,
                         testing::Combine(testing::ValuesIn(cuda_backends()),
                                          testing::Values(DType::kF16, DType::kBF16),
                                          testing::Values(kTwoRounds)),
                         case_name<Case>);
INSTANTIATE_TEST_SUITE_P(Fp8Cases, HybridDecodeTest,
                         testing::Combine(testing::ValuesIn(cuda_backends()),
                                          testing::Values(DType::kF8E4M3),
                                          testing::ValuesIn(cases())),
                         case_name<Case>);

class NewestTokensTest : public testing::TestWithParam<std::tuple<Backend, DType, Case>> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(NewestTokensTest);
INSTANTIATE_TEST_SUITE_P(Cases, NewestTokensTest,
                         testing::Combine(testing::ValuesIn(cuda_backends()),
                                          testing::Values(DType::kF16, DType::kBF16,
                                                          DType::kF8E4M3),
                                          testing::ValuesIn(cases())),
                         case_name<Case>);

TEST_P(NewestTokensTest, AreWhatTheirOwnLaunchMakesOfThemToTheBit) {
  const auto& [backend, dtype, c] = GetParam();
  Call probe(c, dtype);
  if (!cuda::takes_newest_tokens(probe.params)) {
    GTEST_SKIP() << "plain loops";
  }
  for (const bool norms : {false, true}) {
    Call expected(c, dtype);
    Call actual(c, dtype);
    expected.make_newest(norms);
    actual.make_newest(norms);
    expected.run_cuda(1, -1, Call::Newest::kApart);
    actual.run_cuda(2, -1, Call::Newest::kByAttention);  // the second finds them in the cache
    EXPECT_EQ(actual.out, expected.out);
    EXPECT_EQ(actual.lse, expected.lse);
    EXPECT_EQ(with_poison_as(0, actual.scores), with_poison_as(0, expected.scores));
    EXPECT_TRUE(actual.cache.k_bytes() == expected.cache.k_bytes());
    EXPECT_TRUE(actual.cache.v_bytes() == expected.cache.v_bytes());
  }
}

const Case kMixed{"mixed", {700, 1, 1337, 65}, 9, 3, 64, "shsdaeh"};

TEST(HybridDecode, SameBitsEveryRunAndForAnyNumberOfThreads) {
  const int threads = omp_get_max_threads();
  Call expected(kMixed, DType::kF16);
  expected.run_cpu();
  for (const int count : {1, 2, 3, 7, 7}) {
    omp_set_num_threads(count);
    Call actual(kMixed, DType::kF16);
    actual.run_cpu();
    EXPECT_EQ(actual.out, expected.out) << count << " threads";
    EXPECT_EQ(actual.lse, expected.lse) << count << " threads";
    EXPECT_EQ(with_poison_as(0, actual.scores), with_poison_as(0, expected.scores));
  }
  omp_set_num_threads(threads);
}

class HybridDecodeBackendTest : public testing::TestWithParam<Backend> {};

INSTANTIATE_TEST_SUITE_P(Backends, HybridDecodeBackendTest, testing::ValuesIn(backends()),
                         [](const auto& info) { return info.param.name; });

TEST_P(HybridDecodeBackendTest, SameBitsEveryRun) {
  const BackendScope scope(GetParam());
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    Call first(kMixed, dtype);
    Call second(kMixed, dtype);
    first.run(GetParam());
    second.run(GetParam());
    EXPECT_EQ(first.out, second.out);
    EXPECT_EQ(first.lse, second.lse);
    EXPECT_EQ(with_poison_as(0, first.scores), with_poison_as(0, second.scores));
  }
}

TEST_P(HybridDecodeBackendTest, RowsDoNotDependOnTheirBatch) {
  const BackendScope scope(GetParam());
  const Case c{"ragged", {3000, 1, 1337, 65}, 9, 3, 64, "shsdaeh"};
  Call all(c, DType::kBF16);
  all.run(GetParam());
  for (int64_t row = 0; row < 4; ++row) {
    Call alone(c, DType::kBF16);
    alone.run_row(GetParam(), row);
    for (int64_t i = row * 9 * 64; i < (row + 1) * 9 * 64; ++i) {
      ASSERT_EQ(alone.out[static_cast<size_t>(i)], all.out[static_cast<size_t>(i)])
          << "row " << row;
    }
    for (int64_t i = row * 9; i < (row + 1) * 9; ++i) {
      ASSERT_EQ(alone.lse[static_cast<size_t>(i)], all.lse[static_cast<size_t>(i)])
          << "row " << row;
    }
  }
}

TEST_P(HybridDecodeBackendTest, OrderOfASetChangesOnlyRounding) {
  const BackendScope scope(GetParam());
  const Case c{"permuted", {900}, 9, 3, 64, "h"};
  Call first(c, DType::kF16);
  Call second(c, DType::kF16);
  for (int64_t set = 0; set < 3; ++set) {
    auto begin = second.token_ids.begin() + set * second.params.token_ids_stride;
    std::sort(begin, begin + second.num_ids[static_cast<size_t>(set)]);
  }
  first.run(GetParam());
  second.run(GetParam());
  EXPECT_TRUE(test::within(first.out, second.out, 2e-6));
  EXPECT_TRUE(test::within(first.lse, second.lse, 2e-6));
}

TEST_P(HybridDecodeBackendTest, SetOfAllTokensEqualsDense) {
  const BackendScope scope(GetParam());
  const Case sparse_case{"all", {1, 64, 777}, 8, 2, 128, "a"};
  Case dense_case = sparse_case;
  dense_case.heads = "d";
  Call sparse(sparse_case, DType::kF16);
  Call dense(dense_case, DType::kF16);
  for (size_t item = 0; item < sparse.num_ids.size(); ++item) {
    auto begin =
        sparse.token_ids.begin() + static_cast<int64_t>(item) * sparse.params.token_ids_stride;
    std::sort(begin, begin + sparse.num_ids[item]);
  }
  sparse.run(GetParam());
  dense.run(GetParam());
  EXPECT_EQ(sparse.out, dense.out);
  EXPECT_EQ(sparse.lse, dense.lse);
}

TEST_P(HybridDecodeBackendTest, HugeScoresDoNotOverflow) {
  const BackendScope scope(GetParam());
  const Case c{"huge", {300}, 4, 2, 64, "sa"};
  Call actual(c, DType::kF32);
  Call expected(c, DType::kF32);
  for (Call* call : {&actual, &expected}) {
    for (float& value : call->q) {
      value *= 1e4F;
    }
  }
  actual.run(GetParam());
  reference::hybrid_decode(expected.params);
  EXPECT_TRUE(test::within(actual.out, expected.out, 1e-2));
}

TEST_P(HybridDecodeBackendTest, NullOutputsAreNotWritten) {
  const BackendScope scope(GetParam());
  Call call(kMixed, DType::kF32);
  Call expected(kMixed, DType::kF32);
  expected.run(GetParam());
  call.params.lse = nullptr;
  call.params.scores = nullptr;
  call.params.emit_scores = nullptr;
  call.run(GetParam());
  EXPECT_EQ(call.out, expected.out);
  for (const float value : call.lse) {
    EXPECT_TRUE(std::isnan(value));
  }
}

class HybridDecodeCudaTest : public testing::TestWithParam<Backend> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(HybridDecodeCudaTest);
INSTANTIATE_TEST_SUITE_P(Cuda, HybridDecodeCudaTest, testing::ValuesIn(cuda_backends()),
                         [](const auto& info) { return info.param.name; });

// Counters of a launch come back to zero, so that a graph may repeat it.
TEST_P(HybridDecodeCudaTest, MayBeRepeated) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kF8E4M3}) {
    const Case c{"repeated", {3000, 70}, 8, 2, 128, "shds"};
    Call once(c, dtype);
    Call often(c, dtype);
    once.run_cuda();
    often.run_cuda(3);
    EXPECT_EQ(once.out, often.out);
    EXPECT_EQ(once.lse, often.lse);
  }
}

// Whole heads, heads in parts, the plain kernel and one that holds what is not finite.
TEST_P(HybridDecodeCudaTest, RoundedOutputIsTheOutputRounded) {
  const std::vector<Case> rounded_cases = {{"tiles", {9000, 17}, 16, 2, 128, "shda"},
                                           {"mqa_16", {3000}, 16, 1, 64, "s"},
                                           {"plain", {700, 3}, 4, 2, 40, "sh"}};
  for (const Case& c : rounded_cases) {
    for (const bool wants_both : {true, false}) {
      Call expected(c, DType::kBF16);
      expected.q.front() = std::numeric_limits<float>::infinity();
      expected.q.back() = kNan;
      expected.run_cuda();
      Call actual(c, DType::kBF16);
      actual.q = expected.q;
      actual.rounded_out.resize(actual.out.size());
      if (!wants_both) {
        actual.params.out = nullptr;
      }
      actual.run_cuda();
      int64_t num_finite = 0;
      for (size_t i = 0; i < expected.out.size(); ++i) {
        const float value = static_cast<float>(actual.rounded_out[i]);
        num_finite += std::isfinite(expected.out[i]) ? 1 : 0;
        if (std::isnan(expected.out[i])) {
          ASSERT_TRUE(std::isnan(value)) << c.name << " " << i;
        } else {
          ASSERT_EQ(value, static_cast<float>(bf16(expected.out[i]))) << c.name << " " << i;
        }
      }
      EXPECT_GT(num_finite, 0);
      EXPECT_LT(num_finite, std::ssize(expected.out));
      if (wants_both) {
        EXPECT_EQ(with_poison_as(0, actual.out), with_poison_as(0, expected.out));
      }
    }
  }
}

// More heads in parts than a block remembers, so that it merges before its end too.
TEST_P(HybridDecodeCudaTest, ManyRowsInPartsEqualRowsAlone) {
  const Case c{"many_rows", std::vector<int64_t>(48, 5000), 8, 4, 64, "dsha"};
  Call all(c, DType::kBF16);
  all.run_cuda(2);
  for (const int64_t row : {0, 13, 29, 47}) {
    Call alone(c, DType::kBF16);
    alone.run_cuda(1, row);
    const int64_t size = 8 * 64;
    for (int64_t i = row * size; i < (row + 1) * size; ++i) {
      ASSERT_EQ(alone.out[static_cast<size_t>(i)], all.out[static_cast<size_t>(i)])
          << "row " << row;
    }
  }
}

}  // namespace
}  // namespace lychee::attention
