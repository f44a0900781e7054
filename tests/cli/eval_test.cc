#include <fstream>
#include <iterator>

#include "cli/program.h"

namespace lychee::test {
namespace {

std::string text_of(const std::string& path) {
  std::ifstream stream(path);
  return {std::istreambuf_iterator<char>(stream), {}};
}

class EvalTest : public FilesTest {
 protected:
  static std::vector<std::string> passkey(const std::vector<std::string>& more) {
    return concat({"eval", "passkey", "--model", "builtin:needle", "--threads", "1", "--lengths",
                   "600", "--samples", "3", "--budgets", "128"},
                  more);
  }
};

TEST_F(EvalTest, RowsHaveEveryField) {
  const Json json = run_json(
      passkey({"--policies", "dense,hybrid,streaming", "--heads", "builtin,builtin:swapped"}));
  ASSERT_EQ(json["rows"].size(), 4U);
  for (const Json& row : json["rows"]) {
    EXPECT_EQ(row["task"], "passkey");
    EXPECT_EQ(row["length"], 600);
    EXPECT_EQ(row["samples"], 3);
    EXPECT_TRUE(row["policy"].is_string());
    EXPECT_TRUE(row["budget"].is_number_integer() || row["budget"].is_null());
    for (const char* key : {"score", "ci_low", "ci_high", "kv_read", "tokens_per_s"}) {
      EXPECT_TRUE(row[key].is_number()) << key;
    }
    EXPECT_LE(row["ci_low"].get<double>(), row["score"].get<double>() + 1e-12);
    EXPECT_GE(row["ci_high"].get<double>(), row["score"].get<double>() - 1e-12);
  }
  EXPECT_EQ(json["rows"][0]["policy"], "dense");
  EXPECT_EQ(json["rows"][0]["score"], 1.0);
  EXPECT_EQ(json["rows"][1]["heads"], "builtin");
  EXPECT_EQ(json["rows"][1]["score"], 1.0);
  EXPECT_LT(json["rows"][1]["kv_read"].get<double>(), 0.6);
  EXPECT_EQ(json["rows"][2]["heads"], "builtin:swapped");
  EXPECT_LT(json["rows"][2]["score"].get<double>(), 1);
  for (const char* key : {"select", "dense_below", "kv_dtype", "exact", "seed", "threads", "device",
                          "model", "model_sha256", "lengths", "samples"}) {
    EXPECT_TRUE(json["options"].contains(key)) << key;
  }
}

TEST_F(EvalTest, ResumesOnlyItsOwnResults) {
  const Json first = run_json(passkey({"--out", path("out")}));
  const Json second = run_json(passkey({"--out", path("out"), "--resume"}));
  EXPECT_EQ(second["rows"], first["rows"]);
  expect_failure(passkey({"--resume"}), 2, {"--resume", "--out"});
  const ProgramResult other =
      run_program(passkey({"--out", path("out"), "--resume", "--seed", "9"}));
  EXPECT_EQ(other.exit_code, 2);
}

TEST_F(EvalTest, WritesTablesAndSharesPrompts) {
  const Json json =
      run_json(concat({"eval", "needle", "vt", "--model", "builtin:needle", "--threads", "1",
                       "--lengths", "500", "--samples", "2", "--policies", "dense,streaming",
                       "--budgets", "128", "--together", "--out", path("out")},
                      {}));
  ASSERT_EQ(json["rows"].size(), 4U);
  EXPECT_EQ(json["rows"][0]["task"], "needle");
  EXPECT_EQ(json["rows"][0]["score"], 1.0) << "the built-in model finds a needle in filler";
  EXPECT_EQ(json["rows"][0]["difference"], 0.0);
  EXPECT_EQ(json["totals"]["prompts"], 4);
  EXPECT_EQ(json["totals"]["answers"], 8);
  EXPECT_EQ(json["totals"]["prefilled_tokens"], json["totals"]["shared_tokens"]);
  EXPECT_EQ(Json::parse(text_of(path("out/rows.json")))["rows"], json["rows"]);
  EXPECT_TRUE(text_of(path("out/rows.csv")).starts_with("task,length,policy,heads,budget,"));
  EXPECT_NE(text_of(path("out/report.html")).find("prefilled once each"), std::string::npos);
}

TEST_F(EvalTest, RefusesImpossibleTables) {
  const auto refused = [](const std::vector<std::string>& more,
                          const std::vector<std::string>& parts) {
    expect_failure(concat({"eval", "passkey", "--model", "builtin:needle", "--threads", "1"}, more),
                   2, parts);
  };
  refused({"--lengths", "0"}, {"--lengths", "'0'"});
  refused({"--lengths", "-5"}, {"-5"});
  refused({"--lengths", "9223372036854775807"}, {"9223372036854775807"});
  refused({"--lengths", "99999999999999999999"}, {"99999999999999999999"});
  refused({"--lengths", "4"}, {"4"});
  refused({"--samples", "0"}, {"--samples"});
  refused({"--policies", "magic"}, {"magic"});
  refused({"--budgets", "0"}, {"--budgets"});
  expect_failure({"eval"}, 2, {"TASK"});
  expect_failure({"eval", "trivia", "--model", "builtin:needle"}, 2, {"trivia"});
  expect_failure({"eval", "passkey", "--model", tiny_model(), "--lengths", "100"}, 2,
                 {"tokenizer"});
}

}  // namespace
}  // namespace lychee::test
