#include "cli/output.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>

#include "base/check.h"
#include "lychee/version.h"

namespace lychee::cli {

int exit_code(ErrorCode code) {
  return code == ErrorCode::kInvalidArgument || code == ErrorCode::kUnsupported ? 2 : 1;
}

void print_json(nlohmann::ordered_json json) {
  json["version"] = kVersion;
  std::cout << json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
}

void print_note(const std::string& line) {
  std::cerr << line << '\n';
}

bool stderr_is_terminal() {
  return ::isatty(STDERR_FILENO) == 1;
}

std::string format_bytes(double bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "kB", "MB", "GB", "TB"};
  size_t unit = 0;
  while (bytes >= 1000 && unit + 1 < kUnits.size()) {
    bytes /= 1000;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", bytes, unit == 0 ? 0 : 1, kUnits[unit]);
}

ProgressBar::ProgressBar(std::string label)
    : label_(std::move(label)),
      shown_(stderr_is_terminal()),
      start_(std::chrono::steady_clock::now()) {}

ProgressBar::~ProgressBar() {
  if (shown_) {
    std::cerr << "\r\x1b[K" << std::flush;
  }
}

void ProgressBar::update(int64_t done, int64_t total) {
  const auto now = std::chrono::steady_clock::now();
  if (!shown_ || (done < total && now - last_ < std::chrono::milliseconds(100))) {
    return;
  }
  last_ = now;
  constexpr int64_t kWidth = 30;
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const double rate = static_cast<double>(done) / std::max(elapsed, 1e-9);
  const double left = static_cast<double>(total - done) / std::max(rate, 1e-9);
  const auto filled = static_cast<size_t>(total > 0 ? kWidth * done / total : 0);
  std::cerr << fmt::format(
                   "\r\x1b[K{} [{}{}] {:3.0f} %  {:.0f} s left", label_, std::string(filled, '#'),
                   std::string(kWidth - filled, '.'),
                   total > 0 ? 100.0 * static_cast<double>(done) / static_cast<double>(total) : 0.0,
                   left)
            << std::flush;
}

std::string read_text_file(const std::string& path) {
  if (path == "-") {
    return {std::istreambuf_iterator<char>(std::cin), {}};
  }
  std::ifstream file(path, std::ios::binary);
  require(file.good(), ErrorCode::kInvalidArgument, "cannot read ", path);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  // A folder opens, and fails on reading only.
  require(!file.bad(), ErrorCode::kInvalidArgument, "cannot read ", path);
  return text;
}

nlohmann::ordered_json parse_json(const std::string& text, const std::string& what) {
  try {
    return nlohmann::ordered_json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorCode::kInvalidArgument, what, ": ", error.what());
  }
}

namespace {

int32_t checked_id(int64_t value, const std::string& path) {
  require(value >= 0 && value <= std::numeric_limits<int32_t>::max(), ErrorCode::kInvalidArgument,
          path, ": ", value, " is no token id");
  return static_cast<int32_t>(value);
}

std::vector<int32_t> ids_from_json(const std::string& text, const std::string& path) {
  const nlohmann::ordered_json json = parse_json(text, path);
  std::vector<int32_t> ids;
  for (const auto& item : json) {
    require(item.is_number_integer(), ErrorCode::kInvalidArgument, path,
            ": token ids must be integers, found ", item.dump().substr(0, 40));
    ids.push_back(checked_id(item.get<int64_t>(), path));
  }
  return ids;
}

}  // namespace

std::vector<int32_t> read_token_ids(const std::string& path) {
  const std::string text = read_text_file(path);
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && text[first] == '[') {
    return ids_from_json(text, path);
  }
  std::vector<int32_t> ids;
  const char* position = text.data();
  const char* const end = text.data() + text.size();
  while (true) {
    while (position != end && std::isspace(static_cast<unsigned char>(*position)) != 0) {
      ++position;
    }
    if (position == end) {
      return ids;
    }
    int64_t value = 0;
    const auto [next, error] = std::from_chars(position, end, value);
    require(
        error == std::errc() && (next == end || std::isspace(static_cast<unsigned char>(*next))),
        ErrorCode::kInvalidArgument, path, ": byte ", position - text.data(),
        " begins no token id; expected integers separated by white space, or a JSON array");
    ids.push_back(checked_id(value, path));
    position = next;
  }
}

}  // namespace lychee::cli
