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
  const std::vector<std::string> tokens{"natu", "ral", " even", "ing", " harp"};
  const auto decode = [&](std::span<const int32_t> ids) {
    std::string text;
    for (const int32_t id : ids) {
      text += tokens.at(static_cast<size_t>(id));
    }
    return text;
  };
  const std::vector<int32_t> wanted{0, 1, 2, 3, 4, 2};  // natural evening harp even
  const auto share = [&](const std::vector<int32_t>& said) {
    return share_of_words(said, wanted, decode);
  };
  EXPECT_EQ(share(wanted), 1);
  EXPECT_EQ(share({0, 1, 2, 0, 4, 2}), 0.75) << "half of a word is none";
  EXPECT_EQ(share({0, 0, 2, 3, 4, 4}), 0.5);
  EXPECT_EQ(share({0, 1, 2, 3}), 0.5) << "words that were not said";
  EXPECT_EQ(share({}), 0);
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
