#include <system_error>
#include <utility>

#include "base/check.h"
#include "base/text_file.h"
#include "io/fetch/sha256.h"
#include "io/huggingface/hf_config.h"
#include "io/huggingface/safetensors.h"
#include "io/huggingface/tokenizer_json.h"
#include "io/json_file.h"
#include "io/open_model.h"

namespace lychee::io {
namespace {

namespace fs = std::filesystem;

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

std::string folder_name(const fs::path& folder) {
  const fs::path named = folder.has_filename() ? folder : folder.parent_path();
  return named.filename().string();
}

void require_config(const fs::path& folder) {
  if (is_there(folder / "config.json")) {
    return;
  }
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    require(entry.path().extension() != ".gguf", ErrorCode::kInvalidArgument, folder.string(),
            " has no config.json, but a GGUF file: give ", entry.path().string(), " itself");
  }
  require(!error, ErrorCode::kInvalidArgument, folder.string(),
          " cannot be read: ", error.message());
  fail(ErrorCode::kInvalidArgument, folder.string(),
       " has no config.json; a model folder holds config.json and safetensors files");
}

GenerationDefaults read_generation(const fs::path& path) {
  const nlohmann::json json = parse_json(read_text_file(path), path.string());
  const JsonObject config(json, path.string());
  GenerationDefaults defaults;
  defaults.eos_ids = read_eos_ids(config);
  defaults.temperature = config.number("temperature");
  defaults.top_p = config.number("top_p");
  defaults.repetition_penalty = config.number("repetition_penalty");
  if (config.contains("top_k")) {
    defaults.top_k = static_cast<int>(config.required_integer("top_k", 0, INT32_MAX));
  }
  return defaults;
}

// All but config and weights.
void read_text_files(const fs::path& folder, ModelFiles& files) {
  files.name = folder_name(folder);
  files.path = folder;
  files.naming = TensorNaming::kHuggingFace;
  files.tokenizer = read_tokenizer(folder);
  files.chat_template = read_chat_template(folder);
  if (is_there(folder / "generation_config.json")) {
    files.generation = read_generation(folder / "generation_config.json");
  }
}

// config.json's hash and end-of-text ids. generation_config.json's ids go first: it is what
// transformers generates by.
nlohmann::json read_config(const fs::path& folder, ModelFiles& files) {
  const fs::path path = folder / "config.json";
  const std::string text = read_text_file(path);
  files.header_sha256 = sha256_hex(text);
  nlohmann::json config = parse_json(text, path.string());
  if (files.generation.eos_ids.empty()) {
    files.generation.eos_ids = read_eos_ids(JsonObject(config, path.string()));
  }
  return config;
}

}  // namespace

ModelFiles open_hf_folder(const fs::path& folder) {
  require_config(folder);
  ModelFiles files;
  read_text_files(folder, files);
  const nlohmann::json config = read_config(folder, files);
  files.config = read_hf_config(JsonObject(config, (folder / "config.json").string()));
  SafetensorsFolder weights = open_safetensors_folder(folder);
  files.tensors = std::move(weights.tensors);
  files.storage = std::move(weights.storage);
  finish_model_files(files);
  return files;
}

ModelFiles open_hf_tokenizer(const fs::path& folder) {
  ModelFiles files;
  read_text_files(folder, files);
  if (is_there(folder / "config.json")) {
    static_cast<void>(read_config(folder, files));
  }
  return files;
}

}  // namespace lychee::io
