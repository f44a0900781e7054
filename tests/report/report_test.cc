#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "report/line_chart.h"
#include "report/page.h"

namespace lychee::report {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Page, EscapesWhatComesFromOutside) {
  EXPECT_EQ(escape_html("<a href='x'>\"&amp;</a>"),
            "&lt;a href=&#39;x&#39;&gt;&quot;&amp;amp;&lt;/a&gt;");
  const std::string page = html_page("<script>", {html_table({{"a<b"}, {{"c&d"}}})});
  EXPECT_THAT(page, HasSubstr("<title>&lt;script&gt;</title>"));
  EXPECT_THAT(page, HasSubstr("<th>a&lt;b</th>"));
  EXPECT_THAT(page, HasSubstr("<td>c&amp;d</td>"));
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_TRUE(page.starts_with("<!DOCTYPE html>"));
  EXPECT_TRUE(page.ends_with("</html>\n"));
}

TEST(LineChart, SpansItsAxes) {
  const LineChart chart{.title = "t",
                        .x_label = "tokens",
                        .y_label = "score",
                        .series = {{"dense", {{1024, 1}, {8192, 0.5}}}, {"a&b", {{1024, 2}}}}};
  const std::string out = svg(chart);
  // The ends of the logarithmic axis; 1 at the top, 0.5 half-way down, 2 held at the top.
  EXPECT_THAT(out, HasSubstr("points=\"60.0,40.0 540.0,170.0 \""));
  EXPECT_THAT(out, HasSubstr("points=\"60.0,40.0 \""));
  EXPECT_THAT(out, HasSubstr(">8192</text>"));
  EXPECT_THAT(out, HasSubstr("a&amp;b"));
}

TEST(LineChart, OneLengthStandsInTheMiddle) {
  const LineChart chart{
      .title = "t", .x_label = "x", .y_label = "y", .series = {{"s", {{100, 0}}}}};
  EXPECT_THAT(svg(chart), HasSubstr("points=\"300.0,300.0 \""));
}

TEST(LineChart, ShowsLinesThatOthersCover) {
  LineChart chart{.title = "t", .x_label = "x", .y_label = "y", .series = {}};
  for (int i = 0; i < 8; ++i) {
    chart.series.push_back({"s" + std::to_string(i), {{1, i < 2 ? 1 : 0.1 * i}, {2, 0.1 * i}}});
  }
  const std::string out = svg(chart);
  EXPECT_THAT(out, HasSubstr("stroke=\"#0072b2\" stroke-width=\"4\" stroke-dasharray=\"none\""));
  EXPECT_THAT(out, HasSubstr("stroke=\"#d55e00\" stroke-width=\"2\" stroke-dasharray=\"none\""));
  EXPECT_THAT(out, HasSubstr("stroke=\"#0072b2\" stroke-width=\"2\" stroke-dasharray=\"7 4\""))
      << "the eighth has the first one's colour";
}

TEST(LineChart, LeavesOutNumbersWithoutRoom) {
  const LineChart chart{.title = "t",
                        .x_label = "x",
                        .y_label = "y",
                        .series = {{"s", {{10, 0}, {90, 0}, {97, 0}, {100, 0}}}}};
  const std::string out = svg(chart);
  EXPECT_THAT(out, HasSubstr(">10</text>"));
  EXPECT_THAT(out, HasSubstr(">100</text>"));
  EXPECT_THAT(out, Not(HasSubstr(">97</text>")));
}

TEST(LineChart, MayBeEmpty) {
  EXPECT_THAT(svg({.title = "t", .x_label = "x", .y_label = "y", .series = {}}),
              HasSubstr("</svg>"));
}

}  // namespace
}  // namespace lychee::report
