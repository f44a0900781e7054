#pragma once

#include <string>
#include <vector>

namespace lychee::report {

// A table of numbers from 0 to 1 as shades, the first row at the top; NaN: an empty cell.
struct HeatMap {
  std::string title;
  std::string row_label;
  std::string column_label;
  std::vector<std::string> row_names;
  std::vector<std::string> column_names;
  std::vector<std::vector<double>> values;  // [rows][columns]
};

// An SVG element with its scale; every cell tells its row, column and value when pointed at.
[[nodiscard]] std::string svg(const HeatMap& map);

}  // namespace lychee::report
