#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace lychee::io {

// A line of a question file: one JSON object with `context`, `question` and `answer`.
struct QaRecord {
  std::string context;
  std::string question;
  std::string answer;
};

// Reads JSON lines; empty lines are ignored. Throws Error(kInvalidArgument) that names file, line
// and key.
[[nodiscard]] std::vector<QaRecord> read_qa_file(const std::filesystem::path& path);

}  // namespace lychee::io
