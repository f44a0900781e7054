#include "eval/data_file.h"

#include <fstream>
#include <sstream>

#include "base/check.h"

namespace lychee::eval {
namespace {

// Runs `use`; its failure is counted or thrown again with the place.
void guard(const std::string& name, int64_t number, BadLines& bad,
           const std::function<void()>& use) {
  std::string reason;
  try {
    use();
    return;
  } catch (const nlohmann::json::exception& error) {
    reason = error.what();
    reason.erase(0, reason.find("] ") + 2);  // "[json.exception.…] "
  } catch (const Error& error) {
    reason = error.what();
  }
  const std::string place = name + ", line " + std::to_string(number) + ": " + reason;
  require(bad.skip, ErrorCode::kInvalidArgument, place, "; --skip-bad leaves such lines out");
  if (++bad.count == 1) {
    bad.first = place;
  }
}

}  // namespace

DataFile parse_jsonl(std::string name, std::string_view text, BadLines& bad) {
  DataFile file{.name = std::move(name), .lines = {}};
  int64_t number = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) {
      continue;
    }
    guard(file.name, number, bad, [&] {
      auto value = nlohmann::json::parse(line);
      require(value.is_object(), ErrorCode::kInvalidArgument, "no JSON object");
      file.lines.push_back({number, std::move(value)});
    });
  }
  return file;
}

DataFile read_jsonl(const std::filesystem::path& path, BadLines& bad) {
  return parse_jsonl(path.string(), read_data(path), bad);
}

void for_each_line(const DataFile& file, BadLines& bad,
                   const std::function<void(const nlohmann::json&)>& use) {
  for (const DataLine& line : file.lines) {
    guard(file.name, line.number, bad, [&] { use(line.value); });
  }
}

std::string read_data(const std::filesystem::path& path) {
  std::error_code error;
  require(std::filesystem::is_regular_file(path, error), ErrorCode::kInvalidArgument, "no file ",
          path.string());
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  require(stream.good(), ErrorCode::kIo, "cannot read ", path.string());
  return text.str();
}

}  // namespace lychee::eval
