#include "support/golden.h"

#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "base/check.h"

namespace lychee::test {

std::filesystem::path golden_model(const char* name) {
  return std::filesystem::path(LYCHEE_SOURCE_DIR) / "tests/data/models" / name;
}

namespace {

// Lines of `name count values…`.
std::map<std::string, std::vector<double>> read_lines(const std::filesystem::path& file) {
  std::ifstream in(file);
  require(in.is_open(), ErrorCode::kIo, "cannot read ", file.string());
  std::map<std::string, std::vector<double>> lines;
  std::string name;
  size_t count = 0;
  while (in >> name >> count) {
    std::vector<double>& values = lines[name];
    values.resize(count);
    for (double& value : values) {
      in >> value;
    }
    require(in.good(), ErrorCode::kInternal, file.string(), ": ", name, " lacks values");
  }
  return lines;
}

template <typename T>
std::vector<T> integers(const std::vector<double>& values) {
  std::vector<T> result;
  for (const double value : values) {
    result.push_back(static_cast<T>(value));
  }
  return result;
}

}  // namespace

Golden read_golden(const std::filesystem::path& folder) {
  const auto lines = read_lines(folder / "golden.txt");
  Golden golden;
  golden.tokens = integers<int32_t>(lines.at("tokens"));
  golden.next_prefill = lines.at("next_prefill");
  golden.row_positions = integers<int64_t>(lines.at("row_positions"));
  golden.decode_from = static_cast<int64_t>(lines.at("decode_from").at(0));
  golden.next_decode = lines.at("next_decode");
  golden.last_decode_row = lines.at("last_decode_row");
  const std::vector<double>& rows = lines.at("rows");
  const auto vocab = static_cast<std::ptrdiff_t>(golden.last_decode_row.size());
  for (size_t i = 0; i < golden.row_positions.size(); ++i) {
    const auto begin = rows.begin() + static_cast<std::ptrdiff_t>(i) * vocab;
    golden.rows.emplace_back(begin, begin + vocab);
  }
  return golden;
}

}  // namespace lychee::test
