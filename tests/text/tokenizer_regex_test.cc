#include "text/tokenizer_regex.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lychee/error.h"

namespace lychee::text {
namespace {

using ::testing::HasSubstr;

std::string first_match(const std::string& pattern, const std::string& text) {
  const Regex regex(pattern);
  Regex::Scratch scratch;
  Regex::Match match;
  return regex.find(text, 0, scratch, match) ? text.substr(match.begin, match.end - match.begin)
                                             : "none";
}

TEST(Regex, WhiteSpaceIsRewritten) {
  EXPECT_EQ(
      to_pcre2_syntax(R"(\s+(?!\S)|[^\s\p{L}]|\\s|\[\s)"),
      R"([\t-\r\x{85}\p{Z}]+(?![^\t-\r\x{85}\p{Z}])|[^\t-\r\x{85}\p{Z}\p{L}]|\\s|\[[\t-\r\x{85}\p{Z}])");
  EXPECT_EQ(first_match(R"(\s)", "\u180e"), "none");
  EXPECT_EQ(first_match(R"(\s)", "\u0085"), "\u0085");
  EXPECT_EQ(first_match(R"(\S)", " \u180e"), "\u180e");
}

TEST(Regex, RefusesWhatReadsDifferently) {
  for (const auto& [pattern, construct] :
       std::vector<std::pair<std::string, std::string>>{{R"(\w+)", R"(\w)"},
                                                        {R"(a\b)", R"(\b)"},
                                                        {R"(\h)", R"(\h)"},
                                                        {R"((a)\1)", R"(\1)"},
                                                        {"^a", "^"},
                                                        {"a$", "$"},
                                                        {"[[:alpha:]]", "["},
                                                        {"[a&&b]", "&&"},
                                                        {R"([\S])", R"(\S)"},
                                                        {"[]a]", "[]"}}) {
    try {
      Regex regex(pattern);
      ADD_FAILURE() << pattern;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
      EXPECT_THAT(error.what(), HasSubstr(construct + " "));
    }
  }
  EXPECT_EQ(first_match("[\\^$]+", "a^$"), "^$");
}

TEST(Regex, RefusesWhatDoesNotCompile) {
  for (const std::string pattern : {"(a", "[a", "a\\", "a{2,1}", "\\p{Nope}"}) {
    EXPECT_THROW(Regex regex(pattern), Error) << pattern;
  }
  EXPECT_THROW(Regex regex(std::string(9000, 'a')), Error);
}

TEST(Regex, BacktrackingIsBounded) {
  const Regex regex("(?:a+)+[xy]");
  Regex::Scratch scratch;
  Regex::Match match;
  try {
    (void)regex.find(std::string(200, 'a'), 0, scratch, match);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
  }
}

// Every repetition of a group keeps a frame: 32 KB of machine stack and 8 MB of JIT stack do not
// do.
TEST(Regex, FallsBackWhenTheJitStackOverflows) {
  const std::string text(600000, 'a');
  EXPECT_EQ(first_match("(?:a|b)*?c|a", text), "a");
  EXPECT_EQ(first_match("(?:(?:a|b)+)a", text).size(), text.size());
}

}  // namespace
}  // namespace lychee::text
