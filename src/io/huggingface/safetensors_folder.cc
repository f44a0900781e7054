#include <map>
#include <memory>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/mapped_file.h"
#include "base/text_file.h"
#include "io/huggingface/safetensors.h"
#include "io/json_file.h"

namespace lychee::io {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSingleName = "model.safetensors";
constexpr std::string_view kIndexName = "model.safetensors.index.json";

// Tensor name -> shard name.
using WeightMap = std::map<std::string, std::string, std::less<>>;

WeightMap read_index(const fs::path& path) {
  const nlohmann::json index = parse_json(read_text_file(path), path.string());
  const std::optional<JsonObject> entries = JsonObject(index, path.string()).object("weight_map");
  require(entries.has_value() && !entries->json().empty(), ErrorCode::kInvalidArgument,
          path.string(), ": weight_map is missing or empty");
  WeightMap weights;
  for (const auto& [tensor, shard] : entries->json().items()) {
    require(shard.is_string(), ErrorCode::kInvalidArgument, path.string(), ": weight_map of ",
            tensor, " is not a string");
    const auto& name = shard.get_ref<const std::string&>();
    const bool plain = !name.empty() && name != "." && name != ".." &&
                       name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
    require(plain, ErrorCode::kInvalidArgument, path.string(), ": shard name \"", name,
            "\" is not a plain file name");
    weights.emplace(tensor, name);
  }
  return weights;
}

// The tensors of one file; the mapping behind them joins `storage`.
TensorMap open_file(const fs::path& path, SafetensorsFolder& result) {
  std::error_code error;
  require(fs::exists(path, error), ErrorCode::kInvalidArgument, path.string(),
          " is missing; download all files of the model");
  auto file = std::make_shared<const MappedFile>(path);
  TensorMap tensors = parse_safetensors(file->bytes(), path.string());
  result.storage.push_back(std::move(file));
  return tensors;
}

void add_shard(const fs::path& folder, const std::string& shard, const WeightMap& weights,
               SafetensorsFolder& result) {
  TensorMap tensors = open_file(folder / shard, result);
  for (const auto& [tensor, owner] : weights) {
    require(owner != shard || tensors.contains(tensor), ErrorCode::kInvalidArgument,
            (folder / shard).string(), ": tensor ", tensor, " is not in the shard that ",
            kIndexName, " names");
  }
  for (auto& [name, view] : tensors) {
    require(result.tensors.emplace(name, std::move(view)).second, ErrorCode::kInvalidArgument,
            (folder / shard).string(), ": tensor ", name, " is in another shard too");
  }
}

}  // namespace

SafetensorsFolder open_safetensors_folder(const fs::path& folder) {
  SafetensorsFolder result;
  std::error_code error;
  if (fs::exists(folder / kSingleName, error)) {
    result.tensors = open_file(folder / kSingleName, result);
    return result;
  }
  require(fs::exists(folder / kIndexName, error), ErrorCode::kInvalidArgument, folder.string(),
          " holds neither ", kSingleName, " nor ", kIndexName,
          "; weights are read from safetensors files only");
  const WeightMap weights = read_index(folder / kIndexName);
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : weights) {
    shards.insert(shard);
  }
  for (const std::string& shard : shards) {
    add_shard(folder, shard, weights, result);
  }
  return result;
}

}  // namespace lychee::io
