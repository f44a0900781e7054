#include "report/heat_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/page.h"

namespace lychee::report {
namespace {

constexpr double kLeft = 80;
constexpr double kTop = 46;
constexpr double kWidth = 560;  // of the cells, at most
constexpr double kMaxCell = 22;
constexpr double kRowHeight = 15;
constexpr double kBelow = 62;  // column names and scale
constexpr double kCharacter = 6.5;
constexpr double kTitleCharacter = 8;
constexpr int kScaleSteps = 5;
constexpr double kScaleCell = 16;

// From light grey to dark blue: apart by lightness alone.
std::string shade(double value) {
  const double share = std::clamp(value, 0.0, 1.0);
  const auto mix = [&](int light, int dark) {
    return static_cast<int>(std::lround(light + (dark - light) * share));
  };
  return fmt::format("#{:02x}{:02x}{:02x}", mix(0xee, 0x00), mix(0xee, 0x3a), mix(0xee, 0x70));
}

double text_width(const std::string& text) {
  const auto is_first_byte = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; };
  return kCharacter * static_cast<double>(std::count_if(text.begin(), text.end(), is_first_byte));
}

std::string text(double x, double y, const char* anchor, const std::string& value) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", x, y, anchor,
                     escape_html(value));
}

// A cell, filled by its value, or empty with a frame where there is none.
std::string rectangle(double x, double y, double width, double value, const std::string& title) {
  const std::string paint = std::isfinite(value)
                                ? fmt::format("fill=\"{}\"", shade(value))
                                : std::string(R"(fill="#ffffff" stroke="#cccccc")");
  return fmt::format(
      "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" {}><title>{}</title>"
      "</rect>\n",
      x, y, width, kRowHeight - 1, paint, escape_html(title));
}

class Drawing {
 public:
  explicit Drawing(const HeatMap& map) : map_(map) {
    const auto columns = static_cast<double>(std::max<size_t>(map.column_names.size(), 1));
    double widest = 0;
    for (const std::string& name : map.column_names) {
      widest = std::max(widest, text_width(name) + kCharacter);
    }
    named_ = std::max(widest, kMaxCell) * columns <= kWidth;
    cell_ = named_ ? std::max(widest, kMaxCell) : std::min(kWidth / columns, kMaxCell);
    bottom_ = kTop + kRowHeight * static_cast<double>(map.values.size());
    width_ = kLeft +
             std::max({cell_ * columns, kTitleCharacter * text_width(map.title) / kCharacter,
                       kScaleCell * kScaleSteps + 130}) +
             20;
  }

  [[nodiscard]] std::string draw() const {
    std::string out = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
        "viewBox=\"0 0 {0:.0f} {1:.0f}\" font-family=\"sans-serif\" font-size=\"11\" role=\"img\" "
        "aria-label=\"{2}\">\n<text x=\"{3:.1f}\" y=\"16\" font-size=\"14\">{2}</text>\n",
        width_, bottom_ + kBelow, escape_html(map_.title), kLeft);
    out += text(kLeft - 6, kTop - 6, "end", map_.row_label);
    for (size_t row = 0; row < map_.values.size(); ++row) {
      out += draw_row(row);
    }
    return out + draw_columns() + draw_scale() + "</svg>\n";
  }

 private:
  [[nodiscard]] double x_of(size_t column) const {
    return kLeft + cell_ * static_cast<double>(column);
  }

  [[nodiscard]] std::string draw_row(size_t row) const {
    const double y = kTop + kRowHeight * static_cast<double>(row);
    std::string out = text(kLeft - 6, y + kRowHeight - 4, "end", map_.row_names[row]);
    for (size_t column = 0; column < map_.values[row].size(); ++column) {
      const double value = map_.values[row][column];
      const std::string said = std::isfinite(value) ? fmt::format("{:.3f}", value) : "none";
      out += rectangle(x_of(column), y, cell_ - 1, value,
                       fmt::format("{} {}, {} {}: {}", map_.row_label, map_.row_names[row],
                                   map_.column_label, map_.column_names[column], said));
    }
    return out;
  }

  // Every column's name where there is room, else the first and the last.
  [[nodiscard]] std::string draw_columns() const {
    const double y = bottom_ + 12;
    if (map_.column_names.empty()) {
      return text(kLeft, y, "start", map_.column_label);
    }
    if (!named_) {
      return text(kLeft, y, "start",
                  fmt::format("{}: {} … {}", map_.column_label, map_.column_names.front(),
                              map_.column_names.back()));
    }
    std::string out = text(kLeft - 6, y, "end", map_.column_label);
    for (size_t column = 0; column < map_.column_names.size(); ++column) {
      out += text(x_of(column) + cell_ / 2, y, "middle", map_.column_names[column]);
    }
    return out;
  }

  [[nodiscard]] std::string draw_scale() const {
    const double y = bottom_ + 26;
    std::string out = text(kLeft - 6, y + kRowHeight - 4, "end", "0");
    double x = kLeft;
    for (int i = 0; i < kScaleSteps; ++i) {
      const double value = static_cast<double>(i) / (kScaleSteps - 1);
      out += rectangle(x, y, kScaleCell - 1, value, fmt::format("{:.2f}", value));
      x += kScaleCell;
    }
    out += text(x + 4, y + kRowHeight - 4, "start", "1");
    out += rectangle(x + 30, y, kScaleCell - 1, std::nan(""), "none");
    return out + text(x + 30 + kScaleCell + 4, y + kRowHeight - 4, "start", "none");
  }

  const HeatMap& map_;
  bool named_;  // every column has its name below it
  double cell_;
  double bottom_;
  double width_;
};

}  // namespace

std::string svg(const HeatMap& map) {
  return Drawing(map).draw();
}

}  // namespace lychee::report
