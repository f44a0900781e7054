#include "bench/row.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <vector>

#include "bench/memory_rates.h"
#include "bench/statistics.h"
#include "kernels/cpu/stream.h"
#include "support/expect_error.h"
#include "tensor/buffer.h"

namespace lychee::bench {
namespace {

using ::testing::HasSubstr;

TEST(Statistics, PercentilesInterpolate) {
  const std::vector<double> sample = {40, 10, 30, 20, 50};
  EXPECT_DOUBLE_EQ(percentile(sample, 0), 10);
  EXPECT_DOUBLE_EQ(percentile(sample, 0.5), 30);
  EXPECT_DOUBLE_EQ(percentile(sample, 0.1), 14);
  EXPECT_DOUBLE_EQ(percentile(sample, 0.9), 46);
  EXPECT_DOUBLE_EQ(percentile(sample, 1), 50);
  EXPECT_DOUBLE_EQ(percentile({1, 2}, 0.5), 1.5);
}

TEST(Statistics, OneValueIsEveryPercentile) {
  const Spread spread = spread_of({7});
  EXPECT_DOUBLE_EQ(spread.median, 7);
  EXPECT_DOUBLE_EQ(spread.p10, 7);
  EXPECT_DOUBLE_EQ(spread.p90, 7);
}

TEST(Statistics, RefusesEmptySamplesAndShares) {
  test::expect_error(ErrorCode::kInvalidArgument, "empty", [] { (void)percentile({}, 0.5); });
  test::expect_error(ErrorCode::kInvalidArgument, "1.5", [] { (void)percentile({1}, 1.5); });
  test::expect_error(ErrorCode::kInvalidArgument, "-0.5", [] { (void)percentile({1}, -0.5); });
}

// 10 MB in 2 ms at a read rate of 20 GB/s.
Measurement measurement() {
  Measurement m;
  m.op = "decode";
  m.context = 2048;
  m.batch = 4;
  m.policy = "hybrid";
  m.weights = "file";
  m.kv_dtype = "f16";
  m.bytes = 10e6;
  m.tokens = 4;
  m.kv_read = 0.25;
  m.us = {2000, 1900, 2500};
  m.memory = {20, 25};
  return m;
}

TEST(Row, KernelsOfOneLayerSayWhichAndHowManyIds) {
  Measurement m = measurement();
  EXPECT_FALSE(to_json(make_row(m)).contains("retrieval_heads"));
  m.num_retrieval = 0;
  m.num_layers = 31;
  m.num_selected = 12.5;
  const nlohmann::ordered_json json = to_json(make_row(m));
  EXPECT_EQ(json["retrieval_heads"], 0);
  EXPECT_EQ(json["layers"], 31);
  EXPECT_EQ(json["selected"], 12.5);
  EXPECT_THAT(format_table(std::vector<Row>{make_row(m)}),
              HasSubstr("0 retrieval heads, layers like this: 31, ids selected: 12.5"));
}

TEST(Row, ArithmeticOfTheFloor) {
  const Row row = make_row(measurement());
  EXPECT_DOUBLE_EQ(row.gb_per_s, 5);
  EXPECT_DOUBLE_EQ(row.floor_us, 500);
  EXPECT_DOUBLE_EQ(row.time_over_floor, 4);
  EXPECT_DOUBLE_EQ(row.tokens_per_s, 2000);
}

TEST(Row, RefusesTimesThatCannotBe) {
  Measurement m = measurement();
  m.us.median = 0;
  test::expect_error(ErrorCode::kInvalidArgument, "above 0", [&] { (void)make_row(m); });
  m = measurement();
  m.memory.read_gb_per_s = 0;
  test::expect_error(ErrorCode::kInvalidArgument, "above 0", [&] { (void)make_row(m); });
}

TEST(Row, JsonHasTheFieldsOfTheContract) {
  const nlohmann::ordered_json json = to_json(make_row(measurement()));
  std::vector<std::string> names;
  for (const auto& [name, value] : json.items()) {
    names.push_back(name);
  }
  EXPECT_THAT(
      names, ::testing::ElementsAre("op", "context", "batch", "policy", "weights", "kv_dtype",
                                    "bytes", "us_median", "us_p10", "us_p90", "gb_per_s",
                                    "read_gb_per_s", "copy_gb_per_s", "floor_us", "time_over_floor",
                                    "tokens_per_s", "kv_read"));
  EXPECT_EQ(json["bytes"], 10000000);
  EXPECT_EQ(json["us_p90"], 2500);
  EXPECT_EQ(json["copy_gb_per_s"], 25);
}

TEST(Row, TableComparesWithTheDenseRowOfTheSameBatch) {
  std::vector<Row> rows;
  for (const double us : {4000.0, 6000.0}) {  // two batches; hybrid takes 2000 in both
    Measurement dense = measurement();
    dense.policy = "dense";
    dense.batch = static_cast<int>(us / 1000);
    dense.us.median = us;
    Measurement hybrid = measurement();
    hybrid.batch = dense.batch;
    rows.push_back(make_row(dense));
    rows.push_back(make_row(hybrid));
  }
  const std::string table = format_table(rows);
  EXPECT_THAT(table, HasSubstr("   2.00\n"));
  EXPECT_THAT(table, HasSubstr("   3.00\n"));
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 5);
}

TEST(MemoryRuler, RatesAreAboveZeroAtEverySize) {
  MemoryRuler ruler;
  for (const int64_t bytes : {int64_t{0}, int64_t{5'000'001}, int64_t{3} << 20}) {
    const MemoryRates rates = ruler.measure(bytes);
    EXPECT_GT(rates.read_gb_per_s, 0);
    EXPECT_GT(rates.copy_gb_per_s, 0);
  }
}

TEST(Stream, ReadsAndCopiesEveryByte) {
  constexpr int64_t kBlocks = 64 + 8 + 3;  // a whole span, whole groups of pages, single ones
  const int64_t bytes = kBlocks * cpu::kStreamBlock;
  Buffer from(bytes);
  Buffer to(bytes);
  for (int64_t i = 0; i < bytes; ++i) {
    from.data()[i] = static_cast<std::byte>(i * 7 + i / 256);
  }
  uint64_t expected = 0;
  for (int64_t i = 0; i < bytes; ++i) {
    expected += static_cast<uint64_t>(from.data()[i]) << (8 * (i % 8));
  }
  EXPECT_EQ(cpu::read_stream(from.data(), bytes), expected);
  cpu::copy_stream(from.data(), to.data(), bytes);
  EXPECT_TRUE(std::equal(from.data(), from.data() + bytes, to.data()));
}

}  // namespace
}  // namespace lychee::bench
