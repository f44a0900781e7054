#include "report/heat_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/page.h"

namespace lychee::report {
namespace {

constexpr double kLeft = 80;
constexpr double kTop = 30;
constexpr double kWidth = 560;
constexpr double kMaxCell = 22;
constexpr double kRowHeight = 15;

// From light grey to dark blue: apart by lightness alone.
std::string shade(double value) {
  const double share = std::isfinite(value) ? std::clamp(value, 0.0, 1.0) : 0.0;
  const auto mix = [&](int light, int dark) {
    return static_cast<int>(std::lround(light + (dark - light) * share));
  };
  return fmt::format("#{:02x}{:02x}{:02x}", mix(0xee, 0x00), mix(0xee, 0x3a), mix(0xee, 0x70));
}

}  // namespace

std::string svg(const HeatMap& map) {
  const size_t columns = map.column_names.size();
  const double cell =
      std::min(kWidth / static_cast<double>(std::max<size_t>(columns, 1)), kMaxCell);
  const double height = kTop + kRowHeight * static_cast<double>(map.values.size()) + 40;
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "viewBox=\"0 0 {0:.0f} {1:.0f}\" font-family=\"sans-serif\" font-size=\"11\" role=\"img\" "
      "aria-label=\"{2}\">\n<text x=\"{3:.1f}\" y=\"16\" font-size=\"14\">{2}</text>\n",
      kLeft + kWidth + 30, height, escape_html(map.title), kLeft);
  for (size_t row = 0; row < map.values.size(); ++row) {
    const double y = kTop + kRowHeight * static_cast<double>(row);
    out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", kLeft - 6,
                       y + kRowHeight - 4, escape_html(map.row_names[row]));
    for (size_t column = 0; column < map.values[row].size(); ++column) {
      const double value = map.values[row][column];
      out += fmt::format(
          "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" "
          "fill=\"{}\"><title>{} "
          "{}, {} {}: {:.3f}</title></rect>\n",
          kLeft + cell * static_cast<double>(column), y, cell, kRowHeight - 1, shade(value),
          escape_html(map.row_label), escape_html(map.row_names[row]),
          escape_html(map.column_label), escape_html(map.column_names[column]), value);
    }
  }
  out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">{}: {} … {}</text>\n", kLeft, height - 20,
                     escape_html(map.column_label),
                     columns == 0 ? "" : escape_html(map.column_names.front()),
                     columns == 0 ? "" : escape_html(map.column_names.back()));
  return out + "</svg>\n";
}

}  // namespace lychee::report
