#include "engine/stop_finder.h"

#include <gtest/gtest.h>

namespace lychee::engine {
namespace {

struct Fed {
  std::vector<std::string> shown;
  bool stopped = false;
  std::string rest;

  [[nodiscard]] std::string text() const {
    std::string all;
    for (const std::string& piece : shown) {
      all += piece;
    }
    return all + rest;
  }
};

Fed feed(const std::vector<std::string>& stops, const std::vector<std::string>& pieces) {
  StopFinder finder(stops);
  Fed run;
  for (const std::string& piece : pieces) {
    auto [text, stopped] = finder.push(piece);
    run.shown.push_back(text);
    if (stopped) {
      run.stopped = true;
      return run;
    }
  }
  run.rest = finder.finish();
  return run;
}

TEST(StopFinder, ShowsEverythingWithoutStops) {
  const Fed run = feed({}, {"a", "", "bc"});
  EXPECT_EQ(run.shown, (std::vector<std::string>{"a", "", "bc"}));
  EXPECT_FALSE(run.stopped);
  EXPECT_EQ(feed({""}, {"a"}).shown, (std::vector<std::string>{"a"}));
}

TEST(StopFinder, CutsInsideOnePiece) {
  const Fed run = feed({"stop"}, {"one stop two"});
  EXPECT_TRUE(run.stopped);
  EXPECT_EQ(run.text(), "one ");
}

TEST(StopFinder, HoldsBackWhatMayBecomeAStop) {
  const Fed run = feed({"END"}, {"xE", "N", "y"});
  EXPECT_EQ(run.shown, (std::vector<std::string>{"x", "", "ENy"}));
  const Fed found = feed({"END"}, {"xE", "N", "Dz"});
  EXPECT_EQ(found.shown, (std::vector<std::string>{"x", "", ""}));
  EXPECT_TRUE(found.stopped);
}

TEST(StopFinder, GivesBackWhatItHeldAtTheEnd) {
  const Fed run = feed({"END"}, {"xEN"});
  EXPECT_EQ(run.shown, (std::vector<std::string>{"x"}));
  EXPECT_EQ(run.rest, "EN");
}

// "aab" after "aa": the held tail is a shorter prefix than what came first.
TEST(StopFinder, FallsBackToAShorterPrefix) {
  const Fed run = feed({"aab"}, {"a", "a", "a", "b"});
  EXPECT_TRUE(run.stopped);
  EXPECT_EQ(run.text(), "a");
}

TEST(StopFinder, TheEarliestOfSeveralWins) {
  EXPECT_EQ(feed({"two", "one"}, {"x one two"}).text(), "x ");
  EXPECT_EQ(feed({"ab", "b"}, {"xab"}).text(), "x");
  EXPECT_EQ(feed({"abcd", "bc"}, {"xab", "c"}).text(), "xa");
}

// However the text is cut into pieces, the outcome is that of the whole.
TEST(StopFinder, PiecesHaveNoEffect) {
  const std::string text = "aabaabbabaabab\n\nUser: x";
  const std::vector<std::vector<std::string>> stop_lists = {
      {"abab"}, {"\n\nUser:"}, {"bb", "aabab"}, {"zzz"}, {"x"}, {"a"}};
  for (const std::vector<std::string>& stops : stop_lists) {
    const Fed whole = feed(stops, {text});
    for (size_t cut = 1; cut < text.size(); ++cut) {
      for (size_t second = cut; second < text.size(); ++second) {
        const Fed run =
            feed(stops, {text.substr(0, cut), text.substr(cut, second - cut), text.substr(second)});
        ASSERT_EQ(run.text(), whole.text()) << stops[0] << " at " << cut << ", " << second;
        ASSERT_EQ(run.stopped, whole.stopped);
      }
    }
  }
}

}  // namespace
}  // namespace lychee::engine
