#include "eval/scorers.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace lychee::eval
