#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lychee::report {

// Text as it may stand in HTML or SVG, in an element or a quoted attribute.
[[nodiscard]] std::string escape_html(std::string_view text);

struct Table {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;  // as many cells each as the header
};
[[nodiscard]] std::string html_table(const Table& table);

// A whole page that needs no other file: `fragments` are HTML, one after the other.
[[nodiscard]] std::string html_page(std::string_view title,
                                    const std::vector<std::string>& fragments);

}  // namespace lychee::report
