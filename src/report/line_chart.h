#pragma once

#include <string>
#include <utility>
#include <vector>

namespace lychee::report {

struct Series {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x > 0
};

struct LineChart {
  std::string title;
  std::string x_label;
  std::string y_label;
  double y_min = 0;
  double y_max = 1;
  std::vector<Series> series;
};

// An SVG element: x on a logarithmic axis with a tick at every x that occurs and its number where
// there is room, a line with points for each series, and a legend. A line is the wider, the more
// later ones share a point with it, so that it shows below them. Points outside [y_min, y_max] are
// drawn at its edge.
[[nodiscard]] std::string svg(const LineChart& chart);

}  // namespace lychee::report
