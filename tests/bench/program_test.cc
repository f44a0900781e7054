#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

namespace lychee::bench {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::HasSubstr;

struct Result {
  int exit_code;
  std::string out;
};

// `lycheedecode bench …` with a cache folder of its own; `sink` says where stderr goes.
Result run_bench(const std::string& arguments, const std::string& sink = "2>/dev/null") {
  const std::string cache = testing::TempDir() + "lychee_bench_cache_" + std::to_string(::getpid());
  const std::string command =
      "XDG_CACHE_HOME=" + cache + " " LYCHEE_PROGRAM " bench " + arguments + " " + sink;
  FILE* pipe = ::popen(command.c_str(), "r");
  std::string out;
  std::array<char, 4096> buffer{};
  while (const size_t size = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    out.append(buffer.data(), size);
  }
  const int status = ::pclose(pipe);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, out};
}

Json run_json(const std::string& arguments) {
  const Result result = run_bench(arguments + " --json");
  EXPECT_EQ(result.exit_code, 0) << arguments;
  Json json = Json::parse(result.out, nullptr, false);
  EXPECT_TRUE(json.is_object()) << result.out;
  EXPECT_TRUE(json.contains("version"));
  return json;
}

constexpr const char* kFields[] = {
    "op",           "context",       "batch",         "policy",   "weights",
    "kv_dtype",     "bytes",         "us_median",     "us_p10",   "us_p90",
    "gb_per_s",     "read_gb_per_s", "copy_gb_per_s", "floor_us", "time_over_floor",
    "tokens_per_s", "kv_read"};

TEST(BenchProgram, DecodeHasADenseRowBesideThePolicys) {
  const Json json = run_json(
      "decode --model builtin:needle --context 0,256 --batch 1,2 --repeats 2 --budget 64 --sink 4 "
      "--recent 16 --dense-below 0");
  ASSERT_EQ(json["rows"].size(), 8U);
  for (const Json& row : json["rows"]) {
    for (const char* field : kFields) {
      EXPECT_TRUE(row.contains(field)) << field;
    }
    EXPECT_GT(row["us_median"], 0.0);
    EXPECT_LE(row["us_p10"], row["us_median"]);
    EXPECT_GE(row["us_p90"], row["us_median"]);
  }
  EXPECT_EQ(json["rows"][0]["policy"], "dense");
  EXPECT_EQ(json["rows"][1]["policy"], "hybrid");
  EXPECT_EQ(json["rows"][7]["context"], 256);
  EXPECT_EQ(json["rows"][7]["batch"], 2);
  EXPECT_EQ(json["rows"][6]["kv_read"], 1.0);
  EXPECT_LT(json["rows"][7]["kv_read"], 1.0);
  EXPECT_EQ(json["options"]["policy"], "hybrid");
  EXPECT_EQ(json["options"]["budget"], 64);
}

TEST(BenchProgram, TrainSplitsAStepBesideItsFloor) {
  const Json json = run_json(
      "train --shape tiny --context 96,0 --rows 16 --budget 32 --sink 2 --recent 8 "
      "--repeats 1");
  ASSERT_EQ(json["rows"].size(), 2U);
  for (const Json& row : json["rows"]) {
    double seconds = 0;
    for (const char* part : {"prefill", "teacher", "student", "loss", "backward"}) {
      seconds += row["split_seconds"][part].get<double>();
      EXPECT_EQ(row["split_flop"][part].get<double>() > 0,
                std::string(part) != "prefill" || row["context"] > 0)
          << part;
    }
    EXPECT_DOUBLE_EQ(row["seconds_per_step"], seconds);
    EXPECT_GT(row["floor_seconds"], 0.0);
  }
  // 2 multiply-adds for each weight of 4 layers and row, and 4 for each pair of tokens: 8 heads of
  // 64.
  const double layer = 256.0 * (512 + 2 * 128) + 256.0 * 512 + 3 * 256.0 * 512;
  EXPECT_DOUBLE_EQ(json["rows"][0]["split_flop"]["prefill"],
                   4 * (2 * layer * 96 + 4 * 512.0 * 96 * 97 / 2));
  EXPECT_NE(run_bench("train --context 8").exit_code, 0);
}

TEST(BenchProgram, MeasuresRandomModelsByShape) {
  const std::string common =
      "decode --shape tiny --context 300 --repeats 1 --heads uniform:3 "
      "--budget 64 --sink 4 --recent 16 --dense-below 0 --weights ";
  const Json file = run_json(common + "file");
  const Json int4 = run_json(common + "int4");
  EXPECT_EQ(file["options"]["model"], "shape:tiny");
  EXPECT_EQ(int4["options"]["weights"], "int4");
  EXPECT_EQ(int4["rows"][1]["weights"], "int4");
  EXPECT_LT(int4["rows"][0]["bytes"], 0.5 * file["rows"][0]["bytes"].get<double>());
  EXPECT_EQ(int4["memory"]["cache_tokens"], 384);
  EXPECT_LT(int4["memory"]["weight_bytes"], file["memory"]["weight_bytes"]);
}

TEST(BenchProgram, DrawsAsAsked) {
  const Json drawn = run_json("decode --shape tiny --repeats 1 --temperature 0.5 --top-p 0.9");
  EXPECT_EQ(drawn["options"]["temperature"], 0.5);
  EXPECT_EQ(drawn["options"]["top_p"], 0.9);
  EXPECT_EQ(run_bench("decode --shape tiny --temperature -1").exit_code, 2);
}

TEST(BenchProgram, RefusesWhatCannotFitBeforeLoading) {
  const Result result = run_bench("decode --shape llama3-70b --context 1000000000", "2>&1");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.out, HasSubstr("does not fit"));
  EXPECT_EQ(run_bench("decode --context 1").exit_code, 2);
  EXPECT_EQ(run_bench("decode --shape tiny --model builtin:needle").exit_code, 2);
}

TEST(BenchProgram, PrefillRowsCountTokens) {
  const Json json = run_json("prefill --model builtin:needle --context 40,100 --repeats 1");
  ASSERT_EQ(json["rows"].size(), 2U);
  for (const char* field : kFields) {
    EXPECT_TRUE(json["rows"][0].contains(field)) << field;
  }
  EXPECT_EQ(json["rows"][1]["op"], "prefill");
  EXPECT_EQ(json["rows"][1]["context"], 100);
  EXPECT_GT(json["rows"][1]["gflop_per_s"], 0.0);
}

TEST(BenchProgram, AttentionHasARowForEveryKindOfLayer) {
  const Json json = run_json(
      "attention --shape tiny --device cpu --context 300 --budget 64 --sink 4 --recent 16 "
      "--repeats 1 --heads uniform:5 --threads 1");
  const Json& rows = json["rows"];
  ASSERT_GE(rows.size(), 3U);
  EXPECT_EQ(rows[0]["policy"], "dense");
  EXPECT_EQ(rows[0]["kv_read"], 1.0);
  int layers = 0;
  int retrieval_heads = 0;
  for (size_t i = 1; i < rows.size(); ++i) {
    for (const char* field : kFields) {
      EXPECT_TRUE(rows[i].contains(field)) << field;
    }
    EXPECT_EQ(rows[i]["policy"], "hybrid");
    layers += rows[i]["layers"].get<int>();
    retrieval_heads += rows[i]["layers"].get<int>() * rows[i]["retrieval_heads"].get<int>();
  }
  EXPECT_EQ(layers, 4);
  EXPECT_EQ(retrieval_heads, 5);
  EXPECT_EQ(json["options"]["device"], "cpu");
  EXPECT_EQ(json["options"]["heads"], "uniform:5");
  const Json streaming = run_json(
      "attention --shape tiny --device cpu --context 300 --budget 64 --sink 4 --recent 16 "
      "--repeats 1 --policy streaming --threads 1");
  ASSERT_EQ(streaming["rows"].size(), 2U);
  EXPECT_NEAR(streaming["rows"][1]["kv_read"].get<double>(), 64.0 / 300, 1e-9);
}

TEST(BenchProgram, SelectRowsSayHowManyTheyTook) {
  const Json json = run_json(
      "select --shape tiny --device cpu --context 2000 --budget 512 --sink 4 --recent 16 "
      "--repeats 1 --select mass --select-mass 0.9 --threads 1");
  ASSERT_EQ(json["rows"].size(), 1U);
  EXPECT_EQ(json["rows"][0]["policy"], "mass");
  EXPECT_GT(json["rows"][0]["selected"], 20.0);
  EXPECT_LT(json["rows"][0]["selected"], 512.0);
  EXPECT_EQ(json["options"]["select_mass"], 0.9);
}

TEST(BenchProgram, CrossoverIsKeptForLaterRuns) {
  const std::string limits = " --model builtin:needle --max-cache-tokens 2048 --repeats 2";
  const Json json = run_json("crossover --budget 512" + limits);
  const int64_t dense_below = json["dense_below"];
  EXPECT_GE(dense_below, 512);
  EXPECT_LE(dense_below, 2048);
  EXPECT_EQ(run_json("decode --context 0" + limits)["options"]["dense_below"], dense_below);
}

TEST(BenchProgram, TableForPeople) {
  const Result result = run_bench("decode --model builtin:needle --context 32 --repeats 1");
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.out, HasSubstr("tokens/s"));
  EXPECT_THAT(result.out, HasSubstr("dense"));
}

TEST(BenchProgram, RefusesByName) {
  const auto expect_refused = [](const std::string& arguments, const std::string& part) {
    const Result result = run_bench(arguments, "2>&1");
    EXPECT_EQ(result.exit_code, 2) << arguments;
    EXPECT_THAT(result.out, HasSubstr(part));
  };
  expect_refused("attention --heads uniform:32 --retrieval-heads 2", "excludes");
  expect_refused("attention --shape tiny --context 64 --heads uniform:999", "999");
  expect_refused("attention --shape tiny --context 64 --policy duo", "needs a head plan");
  expect_refused("attention --shape tiny --context 64 --policy streaming --heads uniform:3",
                 "takes no head plan");
  expect_refused("attention --shape tiny --retrieval-heads 99", "99");
  expect_refused("attention --shape tiny --context 64 --budget 8", "budget");
  expect_refused("select --retrieval-heads 0", "at least 1");
  expect_refused("select --select mass --select-mass nan", "--select-mass");
  expect_refused("linear --shape llama9", "llama3-8b");
  expect_refused("decode --model builtin:needle --weights fp8", "bf16, int8 or int4");
  expect_refused("decode --model builtin:needle --context 9,x", "context");
  expect_refused("decode --model builtin:needle --batch 0", "batch");
  expect_refused("prefill --model builtin:needle --context 0", "at least 1 token");
  expect_refused("crossover --model builtin:needle --policy dense", "hold against dense");
  expect_refused("crossover --model builtin:needle --max-cache-tokens 2048 --budget 2040",
                 "up to 1792 tokens");
  expect_refused("decode --model builtin:needle --cache-correction 8", "cache correction");
  expect_refused("", "subcommand");
}

}  // namespace
}  // namespace lychee::bench
