#include "report/head_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace lychee::report {
namespace {

using testing::HasSubstr;

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++found;
  }
  return found;
}

TEST(HeadMap, DrawsOneCellPerHeadWithItsRole) {
  const std::string picture =
      svg(HeadMap{"plan <a>", {{true, true}, {false, true}, {false, false}}});
  EXPECT_EQ(count(picture, ": retrieval</title>"), 3);
  EXPECT_EQ(count(picture, ": sparse</title>"), 3);
  EXPECT_THAT(picture, HasSubstr("layer 1, KV head 0: sparse"));
  EXPECT_THAT(picture, HasSubstr("layer 1, KV head 1: retrieval"));
  EXPECT_THAT(picture, HasSubstr("plan &lt;a&gt;"));
}

TEST(HeadMap, DrawsAnEmptyPlan) {
  const std::string picture = svg(HeadMap{"none", {}});
  EXPECT_THAT(picture, HasSubstr("</svg>"));
  EXPECT_EQ(count(picture, "KV head"), 0);
}

}  // namespace
}  // namespace lychee::report
