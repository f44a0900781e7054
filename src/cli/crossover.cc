#include "cli/crossover.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/text_file.h"
#include "cli/output.h"
#include "io/fetch/cache_dir.h"

namespace lychee::cli {

namespace {

std::filesystem::path crossover_file() {
  return io::cache_dir() / "crossover.json";
}

// A device may compute with any number of threads, and the crossover moves with it.
std::string key_of(const ModelInfo& model) {
  const std::string device = model.gpu.empty() ? model.device : model.gpu;
  return device + "/" + std::to_string(model.threads) + "/" + model.header_sha256;
}

nlohmann::ordered_json read_entries(const std::filesystem::path& path) {
  std::ifstream file(path);
  const nlohmann::ordered_json entries = nlohmann::ordered_json::parse(file, nullptr, false);
  // A cache that cannot be read is as good as none.
  return entries.is_object() ? entries : nlohmann::ordered_json::object();
}

}  // namespace

std::optional<int64_t> stored_crossover(const ModelInfo& model) {
  nlohmann::ordered_json entries;
  try {
    entries = read_entries(crossover_file());
  } catch (const Error&) {  // no cache folder: nothing is stored
    return std::nullopt;
  }
  const auto it = entries.find(key_of(model));
  return it != entries.end() && it->is_number_integer() ? std::optional(it->get<int64_t>())
                                                        : std::nullopt;
}

void store_crossover(const ModelInfo& model, int64_t kv_len) {
  const std::filesystem::path path = crossover_file();
  nlohmann::ordered_json entries = read_entries(path);
  entries[key_of(model)] = kv_len;
  io::create_folder(path.parent_path());
  write_and_rename(path, entries.dump(2) + "\n");
}

}  // namespace lychee::cli
