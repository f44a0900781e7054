#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace lychee::eval {

// What to do about lines that cannot be used, how many there were, and what is wrong with the
// first.
struct BadLines {
  bool skip = false;
  int64_t count = 0;
  std::string first = {};
};

struct DataLine {
  int64_t number;  // from 1
  nlohmann::json value;
};

// A file of JSON objects, one a line.
struct DataFile {
  std::string name;
  std::vector<DataLine> lines;
};

// Splits `text`; empty lines are left out. Throws Error(kInvalidArgument) that names `name` and the
// line that is no JSON object, or counts it when such lines are to be skipped.
[[nodiscard]] DataFile parse_jsonl(std::string name, std::string_view text, BadLines& bad);
// Throws Error(kIo) too.
[[nodiscard]] DataFile read_jsonl(const std::filesystem::path& path, BadLines& bad);

// Calls `use` with every line. What it throws, or the lack of a field, becomes an error that names
// the file and the line, or is counted.
void for_each_line(const DataFile& file, BadLines& bad,
                   const std::function<void(const nlohmann::json&)>& use);

// A whole file. Throws Error(kInvalidArgument) when there is none, Error(kIo) when it cannot be
// read.
[[nodiscard]] std::string read_data(const std::filesystem::path& path);

}  // namespace lychee::eval
