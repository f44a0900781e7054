#include "report/page.h"

namespace lychee::report {
namespace {

constexpr std::string_view kStyle =
    "body{font:15px/1.5 system-ui,sans-serif;max-width:72em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;margin:1em 0;font-size:13px}"
    "th,td{padding:.25em .6em;border-bottom:1px solid #ccc;text-align:right;white-space:nowrap}"
    "th:first-child,td:first-child{text-align:left}"
    "td:last-child{white-space:normal;min-width:15em}"
    "pre{background:#f4f4f4;padding:1em;overflow:auto}svg{max-width:100%}";

std::string table_row(const std::vector<std::string>& cells, std::string_view tag) {
  std::string html = "<tr>";
  for (const std::string& cell : cells) {
    html.append("<").append(tag).append(">").append(escape_html(cell));
    html.append("</").append(tag).append(">");
  }
  return html + "</tr>\n";
}

}  // namespace

std::string escape_html(std::string_view text) {
  std::string html;
  for (const char c : text) {
    switch (c) {
      case '&':
        html += "&amp;";
        break;
      case '<':
        html += "&lt;";
        break;
      case '>':
        html += "&gt;";
        break;
      case '"':
        html += "&quot;";
        break;
      case '\'':
        html += "&#39;";
        break;
      default:
        html += c;
    }
  }
  return html;
}

std::string html_table(const Table& table) {
  std::string html = "<table>\n" + table_row(table.header, "th");
  for (const std::vector<std::string>& row : table.rows) {
    html += table_row(row, "td");
  }
  return html + "</table>\n";
}

std::string html_page(std::string_view title, const std::vector<std::string>& fragments) {
  const std::string name = escape_html(title);
  std::string html = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>" +
                     name + "</title><style>";
  html.append(kStyle).append("</style></head>\n<body><h1>").append(name).append("</h1>\n");
  for (const std::string& fragment : fragments) {
    html += fragment;
  }
  return html + "</body></html>\n";
}

}  // namespace lychee::report
