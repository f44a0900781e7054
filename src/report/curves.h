#pragma once

#include <string>
#include <utility>
#include <vector>

namespace lychee::report {

// A quantity over the steps of a run.
struct Curve {
  std::string title;
  std::string x_label;
  std::vector<std::pair<double, double>> points;  // ascending x; what is not finite is left out
};

// An SVG element with linear axes that fit the points.
[[nodiscard]] std::string svg(const Curve& curve);

}  // namespace lychee::report
