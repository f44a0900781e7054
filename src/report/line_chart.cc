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
constexpr double kCharacter = 7;
// Colours that stay apart for colour-blind readers (Okabe and Ito).
constexpr std::array<const char*, 7> kColors{"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                             "#e69f00", "#56b4e9", "#000000"};
// Of the first seven series, of the next, …
constexpr std::array<const char*, 3> kDashes{"none", "7 4", "2 3"};
constexpr double kLineWidth = 2;

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
          "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{:.3g}</text>\n",
          kLeft, kLeft + kWidth, y_of(value), y_of(value), kLeft - 8, y_of(value) + 4, value);
    }
    out += draw_x_ticks();
    out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n",
                       kLeft + kWidth / 2, kTop + kHeight + 38, escape_html(chart_.x_label));
    out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", 8.0, kTop - 14,
                       escape_html(chart_.y_label));
    return out;
  }

 private:
  // Numbers that would run into their left neighbour or the last one are left out.
  [[nodiscard]] std::string draw_x_ticks() const {
    std::string out;
    double taken = 0;  // up to where the axis has numbers
    for (const double x : ticks_) {
      const double at = x_of(x);
      out += fmt::format(
          "<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\" stroke=\"#999\"/>\n",
          at, kTop + kHeight, kTop + kHeight + 4);
      const std::string number = fmt::format("{:.7g}", x);
      const double half = kCharacter * static_cast<double>(number.size() + 1) / 2;
      const bool is_last = x == *ticks_.rbegin();
      if (at - half < taken || (!is_last && at + half > start_of_last())) {
        continue;
      }
      taken = at + half;
      out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n", at,
                         kTop + kHeight + 18, number);
    }
    return out;
  }
  [[nodiscard]] double start_of_last() const {
    const double last = *ticks_.rbegin();
    return x_of(last) -
           kCharacter * static_cast<double>(fmt::format("{:.7g}", last).size() + 1) / 2;
  }

  const LineChart& chart_;
  std::set<double> ticks_;
};

// Of the series after `index`, those that share a point with it and may hide it.
size_t count_covering(const std::vector<Series>& all, size_t index) {
  const auto& points = all[index].points;
  const auto covers = [&](const Series& other) {
    return std::find_first_of(points.begin(), points.end(), other.points.begin(),
                              other.points.end()) != points.end();
  };
  return static_cast<size_t>(
      std::count_if(all.begin() + static_cast<std::ptrdiff_t>(index) + 1, all.end(), covers));
}

std::string draw_series(const std::vector<Series>& all, const Axes& axes, size_t index) {
  const Series& series = all[index];
  const char* color = kColors[index % kColors.size()];
  const char* dashes = kDashes[index / kColors.size() % kDashes.size()];
  const double width =
      kLineWidth + 2 * std::min<double>(4, static_cast<double>(count_covering(all, index)));
  std::string line;
  std::string points;
  for (const auto& [x, y] : series.points) {
    line += fmt::format("{:.1f},{:.1f} ", axes.x_of(x), axes.y_of(y));
    points += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:.1f}\" fill=\"{}\"><title>{}: {:.7g}, "
        "{:.4g}</title></circle>\n",
        axes.x_of(x), axes.y_of(y), 2.5 + width / 2, color, escape_html(series.name), x, y);
  }
  const double legend_y = kTop + 18 * static_cast<double>(index) + 8;
  return fmt::format(
             "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{:.0f}\" "
             "stroke-dasharray=\"{}\"/>\n",
             line, color, width, dashes) +
         points +
         fmt::format(
             "<line x1=\"{0:.1f}\" x2=\"{1:.1f}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" stroke=\"{3}\" "
             "stroke-width=\"4\" stroke-dasharray=\"{4}\"/>"
             "<text x=\"{5:.1f}\" y=\"{6:.1f}\">{7}</text>\n",
             kLeft + kWidth + 16, kLeft + kWidth + 36, legend_y - 4, color, dashes,
             kLeft + kWidth + 42, legend_y, escape_html(series.name));
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
    out += draw_series(chart.series, axes, i);
  }
  return out + "</svg>\n";
}

}  // namespace lychee::report
