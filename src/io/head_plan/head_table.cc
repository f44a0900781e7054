#include <charconv>
#include <cmath>
#include <string_view>

#include "base/check.h"
#include "io/head_plan/head_plan_files.h"

namespace lychee::io {
namespace {

constexpr std::string_view kSpaces = " \t\r";

std::string_view take_line(std::string_view& text) {
  const size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

// Appends the line's numbers to `values`; returns how many.
int parse_line(std::string_view line, const std::string& where, std::vector<float>& values) {
  int count = 0;
  size_t begin = line.find_first_not_of(kSpaces);
  while (begin != std::string_view::npos) {
    line.remove_prefix(begin);
    const std::string_view word = line.substr(0, line.find_first_of(kSpaces));
    double value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    const bool whole = error == std::errc{} && end == word.data() + word.size();
    constexpr size_t kShown = 40;
    require(whole && std::isfinite(value), ErrorCode::kInvalidArgument, where, ": \"",
            word.substr(0, kShown), "\" is not a number");
    values.push_back(static_cast<float>(value));
    ++count;
    line.remove_prefix(word.size());
    begin = line.find_first_not_of(kSpaces);
  }
  return count;
}

}  // namespace

HeadTable parse_head_table(std::string_view text, const std::string& file_name) {
  constexpr size_t kMaxBytes = size_t{1} << 26;
  require(text.size() <= kMaxBytes, ErrorCode::kInvalidArgument, file_name, ": ", text.size(),
          " bytes are over the limit of ", kMaxBytes);
  HeadTable table;
  int line_number = 0;
  while (!text.empty()) {
    const std::string_view line = take_line(text);
    ++line_number;
    if (line.find_first_not_of(kSpaces) == std::string_view::npos && text.empty()) {
      break;
    }
    const std::string where = file_name + ": line " + std::to_string(line_number);
    const int count = parse_line(line, where, table.values);
    if (table.num_layers == 0) {
      table.num_kv_heads = count;
    }
    require(count == table.num_kv_heads && count > 0, ErrorCode::kInvalidArgument, where, " has ",
            count, " values, line 1 has ", table.num_kv_heads);
    ++table.num_layers;
  }
  require(table.num_layers > 0, ErrorCode::kInvalidArgument, file_name, " holds no values");
  return table;
}

}  // namespace lychee::io
