#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "report/curves.h"
#include "report/heat_map.h"

namespace lychee::report {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Curve, DrawsItsPointsBetweenItsAxes) {
  const std::string image = svg(Curve{"loss & more", "step", {{0, 2}, {10, 4}, {20, 2}}});
  EXPECT_THAT(image, HasSubstr("loss &amp; more"));
  EXPECT_THAT(image, HasSubstr("70.0,190.0 350.0,30.0 630.0,190.0"));
  EXPECT_THAT(image, HasSubstr(">20</text>"));
  EXPECT_THAT(image, HasSubstr(">4</text>"));
}

TEST(Curve, LeavesOutWhatIsNotFinite) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(svg(Curve{"loss", "step", {{0, nan}, {1, 3}}}), Not(HasSubstr("nan")));
  EXPECT_THAT(svg(Curve{"loss", "step", {{0, nan}}}), Not(HasSubstr("polyline")));
  EXPECT_THAT(svg(Curve{"loss", "step", {}}), HasSubstr("</svg>"));
}

TEST(HeatMap, ShadesEveryCellAndNamesIt) {
  const std::string image =
      svg(HeatMap{"scores", "layer", "KV head", {"0", "1"}, {"a", "b"}, {{0, 1}, {0.5, 2}}});
  EXPECT_THAT(image, HasSubstr("layer 0, KV head b: 1.000"));
  EXPECT_THAT(image, HasSubstr("#eeeeee"));
  EXPECT_THAT(image, HasSubstr("#003a70"));
  EXPECT_THAT(image, HasSubstr("layer 1, KV head a: 0.500"));
  EXPECT_THAT(image, HasSubstr(">a</text>")) << "every column has its name";
}

TEST(HeatMap, TellsNothingFromZero) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::string image = svg(HeatMap{"recall", "layer", "KV head", {"0"}, {"a"}, {{nan}}});
  EXPECT_THAT(image, HasSubstr("layer 0, KV head a: none"));
  EXPECT_THAT(image, HasSubstr("fill=\"#ffffff\" stroke=\"#cccccc\""));
  EXPECT_THAT(image, Not(HasSubstr("nan")));
}

TEST(HeatMap, NamesItsEndsWhereColumnsAreMany) {
  HeatMap map{"scores", "layer", "step", {"0"}, {}, {{}}};
  for (int step = 1000; step < 1100; ++step) {
    map.column_names.push_back(std::to_string(step));
    map.values[0].push_back(0.5);
  }
  EXPECT_THAT(svg(map), HasSubstr("step: 1000 … 1099"));
  EXPECT_THAT(svg(map), Not(HasSubstr(">1050</text>")));
}

TEST(HeatMap, MayBeEmpty) {
  EXPECT_THAT(svg(HeatMap{"scores", "layer", "step", {}, {}, {}}), HasSubstr("</svg>"));
}

}  // namespace
}  // namespace lychee::report
