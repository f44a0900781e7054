#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "lychee/engine.h"
#include "lychee/error.h"

namespace lychee::cli {

// Exit codes of interfaces.md, section 1.
[[nodiscard]] int exit_code(ErrorCode code);

// One JSON object on stdout, with `version` added. Invalid UTF-8 becomes U+FFFD.
void print_json(nlohmann::ordered_json json);
// A line on stderr.
void print_note(const std::string& line);
// `text` as one line that cannot steer a terminal: control characters and bytes that are no UTF-8
// become \xNN. For names that come out of files.
[[nodiscard]] std::string printable(std::string_view text);
// "error: " and the message on stderr, as one printable line.
void print_error(std::string_view message);
// Throws Error(kIo) when stdout did not take everything.
void finish_stdout();

// What an engine is about to take of the memory, as a line on stderr.
void print_memory_plan(const MemoryPlan& plan);

[[nodiscard]] bool stderr_is_terminal();
[[nodiscard]] std::string format_bytes(double bytes);

// A bar on stderr, on a terminal only; nothing otherwise. Redrawn at most ten times a second, and
// wiped when it ends.
class ProgressBar {
 public:
  explicit ProgressBar(std::string label);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  void update(int64_t done, int64_t total);

 private:
  std::string label_;
  bool shown_;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_;
};

// The whole of a file but for a byte order mark; "-" is standard input. Throws
// Error(kInvalidArgument) naming the file.
[[nodiscard]] std::string read_text_file(const std::string& path);
// A JSON array of integers, or integers separated by white space. Throws Error(kInvalidArgument).
[[nodiscard]] std::vector<int32_t> read_token_ids(const std::string& path);
// Parses JSON nested at most 64 deep; throws Error(kInvalidArgument) naming `what` and the place.
[[nodiscard]] nlohmann::ordered_json parse_json(const std::string& text, const std::string& what);

}  // namespace lychee::cli
