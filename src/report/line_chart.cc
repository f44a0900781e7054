#include "report/line_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "report/page.h"

namespace lychee::report {
namespace {

constexpr double kLeft = 60;
constexpr double kTop = 40;
constexpr double kWidth = 480;
constexpr double kHeight = 260;
constexpr double kLegendWidth = 260;
constexpr int kYTicks = 5;
// Colours that stay apart for colour-blind readers (Okabe and Ito).
constexpr std::array<const char*, 7> kColors{"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                             "#e69f00", "#56b4e9", "#000000"};

class Axes {
 public:
  explicit Axes(const LineChart& chart) : chart_(chart) {
    for (const Series& series : chart.series) {
      for (const auto& [x, y] : series.points) {
        ticks_.insert(x);
      }
    }
  }

  [[nodiscard]] double x_of(double x) const {
    const double low = std::log(*ticks_.begin());
    const double high = std::log(*ticks_.rbegin());
    // One x alone stands in the middle.
    return kLeft + kWidth * (high > low ? (std::log(x) - low) / (high - low) : 0.5);
  }
  [[nodiscard]] double y_of(double y) const {
    const double share = (y - chart_.y_min) / (chart_.y_max - chart_.y_min);
    return kTop + kHeight * (1 - std::clamp(share, 0.0, 1.0));
  }

  [[nodiscard]] std::string draw() const {
    std::string out;
    for (int i = 0; i <= kYTicks; ++i) {
      const double value = chart_.y_min + (chart_.y_max - chart_.y_min) * i / kYTicks;
      out += fmt::format(
          "<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#ddd\"/>"
          "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{:.4g}</text>\n",
          kLeft, kLeft + kWidth, y_of(value), y_of(value), kLeft - 8, y_of(value) + 4, value);
    }
    for (const double x : ticks_) {
      out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{:.7g}</text>\n",
                         x_of(x), kTop + kHeight + 18, x);
    }
    out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n",
                       kLeft + kWidth / 2, kTop + kHeight + 38, escape_html(chart_.x_label));
    out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", 8.0, kTop - 14,
                       escape_html(chart_.y_label));
    return out;
  }

 private:
  const LineChart& chart_;
  std::set<double> ticks_;
};

std::string draw_series(const Series& series, const Axes& axes, size_t index) {
  const char* color = kColors[index % kColors.size()];
  std::string line;
  std::string points;
  for (const auto& [x, y] : series.points) {
    line += fmt::format("{:.1f},{:.1f} ", axes.x_of(x), axes.y_of(y));
    points += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\" fill=\"{}\"><title>{}: {:.7g}, "
        "{:.4g}</title></circle>\n",
        axes.x_of(x), axes.y_of(y), color, escape_html(series.name), x, y);
  }
  const double legend_y = kTop + 18 * static_cast<double>(index) + 8;
  return fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>\n",
                     line, color) +
         points +
         fmt::format(
             "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"12\" height=\"4\" fill=\"{}\"/>"
             "<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n",
             kLeft + kWidth + 20, legend_y - 5, color, kLeft + kWidth + 38, legend_y,
             escape_html(series.name));
}

}  // namespace

std::string svg(const LineChart& chart) {
  const double legend = kTop + 18 * static_cast<double>(chart.series.size()) + 20;
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "viewBox=\"0 0 {0:.0f} {1:.0f}\" font-family=\"sans-serif\" font-size=\"12\" role=\"img\" "
      "aria-label=\"{2}\">\n",
      kLeft + kWidth + kLegendWidth, std::max(kTop + kHeight + 50, legend),
      escape_html(chart.title));
  const Axes axes(chart);
  out += axes.draw();
  for (size_t i = 0; i < chart.series.size(); ++i) {
    out += draw_series(chart.series[i], axes, i);
  }
  return out + "</svg>\n";
}

}  // namespace lychee::report
