#include "cli/output.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <limits>
#include <string_view>

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

namespace {

// Bytes of the UTF-8 character that `text` begins with; 0 when there is none. Overlong forms and
// surrogates show as they are: no terminal acts on them.
size_t character_size(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const size_t size = byte(0) < 0x80             ? 1
                      : (byte(0) & 0xe0) == 0xc0 ? 2
                      : (byte(0) & 0xf0) == 0xe0 ? 3
                      : (byte(0) & 0xf8) == 0xf0 ? 4
                                                 : 0;
  for (size_t i = 1; i < size; ++i) {
    if (i >= text.size() || (byte(i) & 0xc0) != 0x80) {
      return 0;
    }
  }
  return size;
}

bool is_control(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  const bool c1 = first == 0xc2 && static_cast<unsigned char>(character[1]) < 0xa0;
  return first < 0x20 || first == 0x7f || c1;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const size_t size = character_size(text);
    const std::string_view character = text.substr(0, std::max<size_t>(size, 1));
    if (size > 0 && !is_control(character)) {
      result += character;
    } else {
      for (const char c : character) {
        result += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
      }
    }
    text.remove_prefix(character.size());
  }
  return result;
}

void print_error(std::string_view message) {
  std::cerr << "error: " << printable(message) << '\n';
}

void finish_stdout() {
  std::cout.flush();
  require(std::cout.good() && std::fflush(stdout) == 0, ErrorCode::kIo,
          "cannot write to the standard output");
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

void print_memory_plan(const MemoryPlan& plan) {
  const auto size = [](int64_t bytes) { return format_bytes(static_cast<double>(bytes)); };
  print_note(
      fmt::format("memory: weights {}, workspace {}, KV cache of {} tokens {}: {} of {} free",
                  size(plan.weight_bytes), size(plan.workspace_bytes), plan.cache_tokens,
                  size(plan.cache_bytes()), size(plan.total_bytes()), size(plan.available_bytes)));
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

namespace {

// Large enough for any sane message list, small enough for recursive readers.
constexpr int kMaxJsonDepth = 64;

std::string read_stream(std::istream& stream, const std::string& path) {
  std::string text;
  std::array<char, 65536> buffer{};
  do {
    stream.read(buffer.data(), buffer.size());
    text.append(buffer.data(), static_cast<size_t>(stream.gcount()));
  } while (stream);
  require(!stream.bad(), ErrorCode::kInvalidArgument, "cannot read ", path, ": ",
          std::strerror(errno));
  // A mark that editors put before UTF-8: no part of the text, and tokens of their own if kept.
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (text.starts_with(kByteOrderMark)) {
    text.erase(0, kByteOrderMark.size());
  }
  return text;
}

}  // namespace

std::string read_text_file(const std::string& path) {
  if (path == "-") {
    return read_stream(std::cin, "the standard input");
  }
  std::error_code error;
  require(!std::filesystem::is_directory(path, error), ErrorCode::kInvalidArgument, path,
          " is a folder; give a file");
  std::ifstream file(path, std::ios::binary);
  require(file.good(), ErrorCode::kInvalidArgument, "cannot read ", path, ": ",
          std::strerror(errno));
  return read_stream(file, path);
}

nlohmann::ordered_json parse_json(const std::string& text, const std::string& what) {
  using Json = nlohmann::ordered_json;
  const auto check_depth = [&](int depth, Json::parse_event_t, Json&) {
    require(depth <= kMaxJsonDepth, ErrorCode::kInvalidArgument, what, ": nested more than ",
            kMaxJsonDepth, " deep");
    return true;
  };
  try {
    return Json::parse(text, check_depth);
  } catch (const Json::exception& error) {
    fail(ErrorCode::kInvalidArgument, what, " is not valid JSON: ", error.what());
  }
}

namespace {

int32_t checked_id(int64_t value, const std::string& path) {
  require(value >= 0 && value <= std::numeric_limits<int32_t>::max(), ErrorCode::kInvalidArgument,
          path, ": ", value, " is no token id");
  return static_cast<int32_t>(value);
}

std::vector<int32_t> ids_from_json(const std::string& text, const std::string& path) {
  using Json = nlohmann::ordered_json;
  const Json json = parse_json(text, path);
  std::vector<int32_t> ids;
  for (const auto& item : json) {
    const bool fits = item.is_number_unsigned()
                          ? item.get<uint64_t>() <= std::numeric_limits<int32_t>::max()
                          : item.is_number_integer();
    require(fits, ErrorCode::kInvalidArgument, path, ": entry ", ids.size(), " is no token id: ",
            item.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 40));
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
