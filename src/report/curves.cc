#include "report/curves.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "report/page.h"

namespace lychee::report {
namespace {

constexpr double kLeft = 70;
constexpr double kTop = 30;
constexpr double kWidth = 560;
constexpr double kHeight = 160;
constexpr int kTicks = 4;

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  [[nodiscard]] double share(double value) const {
    return high > low ? (value - low) / (high - low) : 0.5;
  }
  [[nodiscard]] double at(double share) const { return low + (high - low) * share; }
};

std::string ticks(const Range& x, const Range& y) {
  std::string out;
  for (int i = 0; i <= kTicks; ++i) {
    const double share = static_cast<double>(i) / kTicks;
    const double line = kTop + kHeight * (1 - share);
    out += fmt::format(
        "<line x1=\"{0:.1f}\" x2=\"{1:.1f}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" stroke=\"#ddd\"/>"
        "<text x=\"{3:.1f}\" y=\"{4:.1f}\" text-anchor=\"end\">{5:.4g}</text>"
        "<text x=\"{6:.1f}\" y=\"{7:.1f}\" text-anchor=\"middle\">{8:.4g}</text>\n",
        kLeft, kLeft + kWidth, line, kLeft - 8, line + 4, y.at(share), kLeft + kWidth * share,
        kTop + kHeight + 18, x.at(share));
  }
  return out;
}

}  // namespace

std::string svg(const Curve& curve) {
  Range x;
  Range y;
  for (const auto& [at, value] : curve.points) {
    if (std::isfinite(value)) {
      x.include(at);
      y.include(value);
    }
  }
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "viewBox=\"0 0 {0:.0f} {1:.0f}\" font-family=\"sans-serif\" font-size=\"12\" role=\"img\" "
      "aria-label=\"{2}\">\n<text x=\"{3:.1f}\" y=\"16\" font-size=\"14\">{2}</text>\n",
      kLeft + kWidth + 30, kTop + kHeight + 44, escape_html(curve.title), kLeft);
  if (x.low > x.high) {
    return out + "</svg>\n";
  }
  out += ticks(x, y);
  std::string line;
  for (const auto& [at, value] : curve.points) {
    if (std::isfinite(value)) {
      line += fmt::format("{:.1f},{:.1f} ", kLeft + kWidth * x.share(at),
                          kTop + kHeight * (1 - y.share(value)));
    }
  }
  out += fmt::format(
      "<polyline points=\"{}\" fill=\"none\" stroke=\"#0072b2\" stroke-width=\"1.5\"/>\n"
      "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n",
      line, kLeft + kWidth / 2, kTop + kHeight + 36, escape_html(curve.x_label));
  return out + "</svg>\n";
}

}  // namespace lychee::report
