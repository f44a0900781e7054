#include <cmath>

#include "cli/program.h"

namespace lychee::test {
namespace {

constexpr int64_t kTokens = 40;

class ScoreTest : public FilesTest {
 protected:
  [[nodiscard]] std::vector<std::string> score(const std::vector<std::string>& more) const {
    return concat({"score", "--model", tiny_model(), "--threads", "1", "--exact", "--token-ids",
                   ids_file(kTokens)},
                  more);
  }
};

// `array` has one entry per token; numbers (or what `is` says) at [begin, T), null before.
template <typename Is>
void expect_values_from(const Json& array, int64_t begin, Is is) {
  ASSERT_EQ(array.size(), static_cast<size_t>(kTokens));
  for (int64_t i = 0; i < kTokens; ++i) {
    const Json& value = array[static_cast<size_t>(i)];
    EXPECT_TRUE(i < begin ? value.is_null() : is(value)) << "position " << i << ": " << value;
  }
}

bool is_log_prob(const Json& value) {
  return value.is_number() && std::isfinite(value.get<double>()) && value.get<double>() <= 0;
}

TEST_F(ScoreTest, ArraysHaveTheTextsLengthWhereverDecodingBegins) {
  for (const int64_t from : {int64_t{0}, int64_t{1}, int64_t{20}, kTokens - 1, kTokens}) {
    SCOPED_TRACE(from);
    const Json json = run_json(
        score(concat(small_budget(), {"--heads", "uniform:3", "--compare-dense", "--top-logprobs",
                                      "3", "--decode-from", std::to_string(from)})));
    EXPECT_EQ(json["token_ids"].size(), static_cast<size_t>(kTokens));
    expect_values_from(json["logprobs"], 1, is_log_prob);
    expect_values_from(json["top_logprobs"], 1,
                       [](const Json& value) { return value.is_array() && value.size() == 3; });
    expect_values_from(json["kl"], from + 1, [](const Json& value) {
      return value.is_number() && value.get<double>() >= 0;
    });
    expect_values_from(json["agree"], from + 1,
                       [](const Json& value) { return value.is_boolean(); });
    EXPECT_EQ(json["mean_kl"].is_null(), from >= kTokens - 1);
    EXPECT_EQ(json["agreement"].is_null(), from >= kTokens - 1);
    EXPECT_EQ(json["dense_steps"], 0);
    EXPECT_GE(json["seconds"].get<double>(), 0);
    EXPECT_EQ(json["options"]["decode_from"], from);
    EXPECT_EQ(json["options"]["dense_below"], 0);
    if (from >= kTokens - 1) {
      EXPECT_EQ(json["kv_read"], 1.0);
    } else {
      EXPECT_LT(json["kv_read"].get<double>(), 1);
    }
  }
}

TEST_F(ScoreTest, SummariesAreMeansOfTheArrays) {
  const Json json = run_json(score(
      concat(small_budget(), {"--heads", "uniform:2", "--compare-dense", "--decode-from", "5"})));
  double sum = 0;
  double agreed = 0;
  for (size_t i = 6; i < static_cast<size_t>(kTokens); ++i) {
    sum += json["kl"][i].get<double>();
    agreed += json["agree"][i].get<bool>() ? 1 : 0;
  }
  EXPECT_GT(sum, 0);
  EXPECT_NEAR(json["mean_kl"].get<double>(), sum / 34, 1e-12);
  EXPECT_NEAR(json["agreement"].get<double>(), agreed / 34, 1e-12);
}

TEST_F(ScoreTest, DenseDecodingIsPrefill) {
  const Json prefilled = run_json(score({}));
  const Json decoded = run_json(score({"--decode-from", "0", "--compare-dense"}));
  EXPECT_EQ(prefilled["options"]["decode_from"], kTokens);
  EXPECT_FALSE(prefilled.contains("kl"));
  for (size_t i = 1; i < static_cast<size_t>(kTokens); ++i) {
    EXPECT_NEAR(decoded["logprobs"][i].get<double>(), prefilled["logprobs"][i].get<double>(), 1e-4);
    EXPECT_EQ(decoded["kl"][i], 0.0);
    EXPECT_EQ(decoded["agree"][i], true);
  }
  EXPECT_EQ(decoded["kv_read"], 1.0);
}

TEST_F(ScoreTest, TopLogprobsAreOrderedAndWhole) {
  const Json json = run_json(score({"--top-logprobs", "1000", "--decode-from", "20"}));
  for (size_t i = 1; i < static_cast<size_t>(kTokens); ++i) {
    const Json& top = json["top_logprobs"][i];
    ASSERT_EQ(top.size(), 96U);
    double sum = 0;
    bool found = false;
    for (size_t k = 0; k < top.size(); ++k) {
      const double value = top[k][1].get<double>();
      sum += std::exp(value);
      if (k > 0) {
        const double before = top[k - 1][1].get<double>();
        EXPECT_TRUE(before > value || (before == value && top[k - 1][0] < top[k][0]));
      }
      if (top[k][0] == json["token_ids"][i]) {
        found = true;
        EXPECT_EQ(value, json["logprobs"][i].get<double>());
      }
    }
    EXPECT_NEAR(sum, 1, 1e-9);
    EXPECT_TRUE(found);
  }
}

TEST_F(ScoreTest, OneTokenHasNothingToPredict) {
  const Json json = run_json({"score", "--model", tiny_model(), "--threads", "1", "--token-ids",
                              file("one", "5"), "--compare-dense", "--decode-from", "0"});
  EXPECT_EQ(json["logprobs"], Json::array({nullptr}));
  EXPECT_EQ(json["kl"], Json::array({nullptr}));
  EXPECT_TRUE(json["mean_kl"].is_null());
}

TEST_F(ScoreTest, TextIsEncodedAsTokenizeDoes) {
  const std::string text = file("t.txt", "A man and a computer, 日本.\n");
  const Json ids = run_json({"tokenize", "encode", "--model", text_model(), "--text-file", text});
  const Json json =
      run_json({"score", "--model", text_model(), "--threads", "1", "--text-file", text});
  EXPECT_EQ(json["token_ids"], ids["token_ids"]);
}

TEST_F(ScoreTest, CorrectionsAreCounted) {
  const Json json = run_json(score(concat(
      small_budget(), {"--heads", "uniform:3", "--decode-from", "10", "--cache-correction", "8"})));
  EXPECT_EQ(json["corrections"], 3);  // 29 decoded tokens
  EXPECT_EQ(json["options"]["cache_correction"], 8);
}

TEST_F(ScoreTest, PlainOutputIsForPeople) {
  const ProgramResult result = run_program(score({"--decode-from", "10", "--compare-dense"}));
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.out, testing::HasSubstr("perplexity"));
  EXPECT_THAT(result.out, testing::HasSubstr("agreement"));
}

}  // namespace
}  // namespace lychee::test
