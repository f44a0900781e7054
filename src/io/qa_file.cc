#include "io/qa_file.h"

#include <sstream>

#include "base/check.h"
#include "base/text_file.h"
#include "io/json_file.h"

namespace lychee::io {

std::vector<QaRecord> read_qa_file(const std::filesystem::path& path) {
  std::vector<QaRecord> records;
  std::istringstream stream(read_text_file(path));
  int64_t number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) {
      continue;
    }
    const std::string name = path.string() + ", line " + std::to_string(number);
    const nlohmann::json json = parse_json(line, name);
    require(json.is_object(), ErrorCode::kInvalidArgument, name, ": not a JSON object");
    const JsonObject object(json, name);
    records.push_back({object.required_string("context"), object.required_string("question"),
                       object.required_string("answer")});
    require(!records.back().answer.empty(), ErrorCode::kInvalidArgument, name,
            ": the answer is empty");
  }
  return records;
}

}  // namespace lychee::io
