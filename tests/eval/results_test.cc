#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "eval/eval_report.h"
#include "eval/result_folder.h"
#include "eval/rows.h"
#include "lychee/error.h"

namespace lychee::eval {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

SampleResult make_result(int sample, bool right) {
  SampleResult result;
  result.task = "passkey";
  result.length = 1024;
  result.sample = sample;
  result.depth = 0.25;
  result.policy = "hybrid";
  result.heads = "uniform:3";
  result.budget = 512;
  result.prompt_tokens = 1000;
  result.references = {{"47109"}};
  result.texts = {"4 \"7\"\n"};
  result.score = right ? 1 : 0;
  result.metrics = {{"words", 0.5}};
  result.kv_bytes_read = 100;
  result.kv_bytes_read_dense = 400;
  result.decode_steps = 4;
  result.decode_seconds = 0.5;
  return result;
}

class ResultFolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        fs::path(::testing::TempDir()) /
        ("results_" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string read(const char* name) const {
    std::ifstream stream(folder_ / name);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  void append_text(const char* text) const {
    std::ofstream(folder_ / "results.jsonl", std::ios::app) << text;
  }
  void expect_refused(const Json& options, bool resume, const char* part) const {
    try {
      const ResultFolder folder(folder_, options, resume);
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      EXPECT_THAT(error.what(), HasSubstr(part));
    }
  }

  fs::path folder_;
  Json options_{{"seed", 1}, {"model", "m"}};
};

TEST(Results, LinesRoundTrip) {
  const SampleResult result = make_result(3, true);
  const std::string line = to_json(result).dump();
  EXPECT_EQ(to_json(parse_result(line)).dump(), line);
  EXPECT_EQ(line.find('\n'), std::string::npos);
  EXPECT_EQ(parse_result(line).key(), result.key());
  EXPECT_THROW(static_cast<void>(parse_result("{")), Error);
  EXPECT_THROW(static_cast<void>(parse_result("{}")), Error);
  EXPECT_THROW(static_cast<void>(parse_result(R"({"task": 3})")), Error);
}

TEST(Results, RowsSumTheirSamples) {
  std::vector<SampleResult> results;
  for (int sample = 0; sample < 4; ++sample) {
    results.push_back(make_result(sample, sample != 2));
    SampleResult dense = make_result(sample, true);
    dense.policy = "dense";
    dense.heads = "";
    dense.budget = 0;
    dense.kv_bytes_read = 400;
    results.push_back(dense);
  }
  const std::vector<EvalRow> rows = summarize(results);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].samples, 4);
  EXPECT_DOUBLE_EQ(rows[0].score, 0.75);
  EXPECT_NEAR(rows[0].interval.low, 0.30064, 1e-4);
  EXPECT_NEAR(rows[0].interval.high, 0.95441, 1e-4);
  EXPECT_DOUBLE_EQ(rows[0].kv_read, 0.25);
  EXPECT_DOUBLE_EQ(rows[0].tokens_per_s, 8);
  EXPECT_DOUBLE_EQ(rows[1].kv_read, 1);
  EXPECT_EQ(to_json(rows[0])["heads"], "uniform:3");
  EXPECT_EQ(to_json(rows[0])["budget"], 512);
  EXPECT_TRUE(to_json(rows[1])["heads"].is_null());
  EXPECT_TRUE(to_json(rows[1])["budget"].is_null());
  EXPECT_TRUE(summarize({}).empty());
}

TEST(Results, TotalsTellPrefillsFromPrompts) {
  std::vector<SampleResult> results;
  for (int sample = 0; sample < 3; ++sample) {
    for (const bool first : {true, false}) {
      results.push_back(make_result(sample, true));
      results.back().prefilled_tokens = first ? 1000 : 0;
      results.back().prefill_seconds = first ? 2 : 0;
      results.back().seconds = first ? 3.6 : 0;
    }
  }
  EvalTotals totals = total(results);
  EXPECT_EQ(totals.prompts, 3);
  EXPECT_EQ(totals.prefills, 3);
  EXPECT_EQ(totals.answers, 6);
  EXPECT_EQ(totals.prefilled_tokens, 3000);
  EXPECT_EQ(totals.shared_tokens, 3000);
  EXPECT_DOUBLE_EQ(totals.seconds, 10.8);
  EXPECT_DOUBLE_EQ(totals.overhead(), 10.8 / (6 + 6 * 0.5));
  // A run that was cut off between the lines of a prompt prefilled it again.
  results.back().prefilled_tokens = 1000;
  EXPECT_EQ(total(results).prompts, 3);
  EXPECT_EQ(total(results).prefills, 4);
  EXPECT_TRUE(to_json(total({}))["overhead"].is_null());
}

TEST_F(ResultFolderTest, KeepsLinesAndDropsACutOne) {
  {
    ResultFolder folder(folder_, options_, false);
    folder.append(make_result(0, true));
    EXPECT_EQ(read("results.jsonl"), to_json(make_result(0, true)).dump() + "\n") << "not flushed";
    folder.append(make_result(1, false));
  }
  EXPECT_EQ(Json::parse(read("options.json")), options_);
  append_text(R"({"task": "pass)");
  {
    ResultFolder folder(folder_, options_, true);
    ASSERT_EQ(folder.kept().size(), 2U);
    EXPECT_EQ(folder.kept()[1].key(), make_result(1, false).key());
    EXPECT_EQ(folder.kept()[1].score, 0);
    folder.append(make_result(2, true));
  }
  EXPECT_EQ(ResultFolder(folder_, options_, true).kept().size(), 3U);
}

TEST_F(ResultFolderTest, WritesAReportOfAllRows) {
  SampleResult longer = make_result(1, false);
  longer.length = 8192;
  const ResultFolder folder(folder_, options_, false);
  folder.write("report.html", render_report({longer, make_result(0, true)}, {{"model", "<m>"}}));
  const std::string html = read("report.html");
  EXPECT_THAT(html, HasSubstr("<h2>passkey</h2>"));
  EXPECT_THAT(html, HasSubstr("hybrid uniform:3 512"));
  // One line from the shorter length to the longer, whatever the order of the rows.
  EXPECT_THAT(html, HasSubstr("points=\"60.0,40.0 540.0,300.0 \""));
  EXPECT_THAT(html, HasSubstr("<td>0.207…1.000</td>"));
  EXPECT_THAT(html, HasSubstr("&lt;m&gt;"));
  EXPECT_THAT(html, testing::Not(HasSubstr("<m>")));
}

TEST(Report, FitsItsAxisToPerplexities) {
  std::vector<SampleResult> results;
  for (const double nll : {1.0, 2.0}) {
    results.push_back(make_result(0, true));
    results.back().task = "perplexity";
    results.back().length = nll == 1 ? 1024 : 8192;
    results.back().metrics = {{"nll", nll}};
  }
  const std::string html = render_report(results, {});
  EXPECT_THAT(html, HasSubstr(">perplexity</text>"));
  // A twentieth of the range is left below e and above e².
  EXPECT_THAT(html, HasSubstr("points=\"60.0,288.2 540.0,51.8 \""));
}

// The perplexity's own, not that of the agreement, which is the score of a sample.
TEST(Results, PerplexityIsComparedWithDensesOnTheSameTexts) {
  std::vector<SampleResult> results;
  for (const int sample : {0, 1}) {
    for (const bool dense : {true, false}) {
      SampleResult& result = results.emplace_back(make_result(sample, dense));
      result.task = "perplexity";
      result.policy = dense ? "dense" : "streaming";
      result.metrics = {{"nll", (dense ? 1.0 : 1.5) + sample}};
    }
  }
  const std::vector<EvalRow> rows = summarize(results);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].difference, 0.0);
  EXPECT_NEAR(rows[1].difference, rows[1].score - rows[0].score, 1e-12);
  // Both texts lost as much: there is no other mean to draw.
  EXPECT_NEAR(rows[1].difference_interval.low, rows[1].difference, 1e-12);
  EXPECT_NEAR(rows[1].difference_interval.high, rows[1].difference, 1e-12);
}

TEST(Report, LeavesOutIntervalsThatOneSampleCannotHave) {
  std::vector<SampleResult> results{make_result(0, true)};
  results.back().task = "perplexity";
  results.back().policy = "dense";
  results.back().metrics = {{"nll", 1.0}};
  EXPECT_THAT(render_report(results, {}), testing::Not(HasSubstr("nan")));
}

TEST_F(ResultFolderTest, ResumesAnEmptyOrAbsentFolder) {
  EXPECT_TRUE(ResultFolder(folder_, options_, true).kept().empty());
  EXPECT_TRUE(ResultFolder(folder_, options_, true).kept().empty());
}

TEST_F(ResultFolderTest, RefusesOtherOptionsAndBadLines) {
  { ResultFolder(folder_, options_, false).append(make_result(0, true)); }
  expect_refused(options_, false, "--resume");
  expect_refused({{"seed", 2}, {"model", "m"}}, true, "seed was 1, now 2");
  expect_refused({{"seed", 1}, {"budget", 2}}, true, "budget was absent");
  append_text("not json\n");
  expect_refused(options_, true, "line 2");
  std::ofstream(folder_ / "options.json") << "]";
  expect_refused(options_, true, "is not JSON");
}

TEST_F(ResultFolderTest, SaysThatItCannotWrite) {
  std::ofstream(folder_) << "a file where the folder should be";
  try {
    const ResultFolder folder(folder_, options_, false);
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo);
  }
}

}  // namespace
}  // namespace lychee::eval
