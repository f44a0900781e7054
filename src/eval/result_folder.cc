#include "eval/result_folder.h"

#include <sstream>

#include "base/check.h"
#include "base/text_file.h"

namespace lychee::eval {
namespace {

namespace fs = std::filesystem;

void check_options(const fs::path& path, const nlohmann::ordered_json& options) {
  const auto found = nlohmann::ordered_json::parse(read_text_file(path), nullptr, false);
  require(found.is_object(), ErrorCode::kInvalidArgument, path.string(),
          " is not JSON: give another --out folder");
  for (const auto& [name, value] : options.items()) {
    const auto other = found.find(name);
    require(other != found.end() && *other == value, ErrorCode::kInvalidArgument, path.string(),
            " holds results of other options: ", name, " was ",
            other == found.end() ? "absent" : other->dump(), ", now ", value.dump(),
            "; give another --out folder");
  }
}

}  // namespace

ResultFolder::ResultFolder(const fs::path& folder, const nlohmann::ordered_json& options,
                           bool resume)
    : path_(folder / "results.jsonl") {
  std::error_code error;
  fs::create_directories(folder, error);
  require(!error, ErrorCode::kIo, "cannot create ", folder.string(), ": ", error.message());
  const fs::path options_path = folder / "options.json";
  const bool has_results = fs::is_regular_file(path_, error) && fs::file_size(path_, error) > 0;
  require(resume || !has_results, ErrorCode::kInvalidArgument, folder.string(),
          " holds results already: give --resume to go on, or another folder");
  if (has_results) {
    check_options(options_path, options);
    keep_results();
  } else {
    write_and_rename(options_path, options.dump(2) + "\n");
  }
  stream_.open(path_, std::ios::binary | std::ios::app);
  require(stream_.good(), ErrorCode::kIo, "cannot write ", path_.string());
}

void ResultFolder::keep_results() {
  const std::string text = read_text_file(path_);
  const size_t whole = text.rfind('\n') + 1;  // 0 when there is none
  std::istringstream lines(text.substr(0, whole));
  int64_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    try {
      kept_.push_back(parse_result(line));
    } catch (const Error& error) {
      fail(error.code(), path_.string(), ", line ", number, ": ", error.what());
    }
  }
  std::error_code error;
  fs::resize_file(path_, whole, error);
  require(!error, ErrorCode::kIo, "cannot cut ", path_.string(), ": ", error.message());
}

void ResultFolder::write(const std::string& name, const std::string& text) const {
  write_and_rename(path_.parent_path() / name, text);
}

void ResultFolder::append(const SampleResult& result) {
  using Json = nlohmann::ordered_json;
  stream_ << to_json(result).dump(-1, ' ', false, Json::error_handler_t::replace) << '\n'
          << std::flush;
  require(stream_.good(), ErrorCode::kIo, "cannot write ", path_.string());
}

}  // namespace lychee::eval
