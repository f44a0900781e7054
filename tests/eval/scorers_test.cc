#include "eval/scorers.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

namespace lychee::eval {
namespace {

TEST(Scorers, NumbersCountWhole) {
  for (const char* text :
       {"47109", " 47109", "47109.", " 4 7 1 0 9", "\n47109 is the pass key", "47109 2"}) {
    EXPECT_TRUE(number_is_right(text, "47109")) << text;
  }
  for (const char* text :
       {"", " ", "4710", "47108", "471090", "347109", "is 47109", "4710 ", "4 7 1"}) {
    EXPECT_FALSE(number_is_right(text, "47109")) << text;
  }
}

TEST(Scorers, WordsCountAtTheirPlaces) {
  EXPECT_EQ(share_of_words(" one two\nThree four.", "one two three four"), 1);
  EXPECT_EQ(share_of_words("one three two four", "one two three four"), 0.5);
  EXPECT_EQ(share_of_words("one two", "one two three four"), 0.5);
  EXPECT_EQ(share_of_words("", "one two"), 0);
}

using Match = double (*)(std::string_view text, const std::vector<std::string>& references);

double mean_percent(Match match, const nlohmann::json& answers, const nlohmann::json& references) {
  double sum = 0;
  for (size_t i = 0; i < answers.size(); ++i) {
    sum += match(answers[i].get<std::string>(), references[i].get<std::vector<std::string>>());
  }
  return 100 * sum / static_cast<double>(answers.size());
}

// Scores of RULER's own functions, rounded to hundredths of a percent, see tools/ruler_golden.py.
TEST(Scorers, MatchesEqualRulersOwn) {
  std::ifstream stream(LYCHEE_SOURCE_DIR "/tests/data/eval/ruler_matches.jsonl");
  int cases = 0;
  int partly = 0;
  for (std::string line; std::getline(stream, line); ++cases) {
    const auto json = nlohmann::json::parse(line);
    const double all = json["all"];
    const double part = json["part"];
    EXPECT_NEAR(mean_percent(match_all, json["answers"], json["references"]), all, 0.00501) << line;
    EXPECT_NEAR(mean_percent(match_any, json["answers"], json["references"]), part, 0.00501)
        << line;
    partly += all != part ? 1 : 0;
  }
  EXPECT_GE(cases, 350);
  EXPECT_GE(partly, 100) << "cases that tell the two apart";
}

}  // namespace
}  // namespace lychee::eval
