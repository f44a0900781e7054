#include "io/model_files.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "io/needle/builtin_needle.h"
#include "io/open_model.h"
#include "io/shape/shape_model.h"

namespace lychee::io {
namespace {

namespace fs = std::filesystem;

enum class Part { kAll, kTokenizer };

bool is_gguf(const fs::path& path) {
  return path.extension() == ".gguf" || begins_with_gguf_magic(path);
}

ModelFiles open_path(const std::string& model, Part part) {
  if (is_builtin_model(model)) {
    return make_builtin_needle(model);
  }
  if (is_shape_model(model)) {
    return make_shape_model(model, DType::kBF16);
  }
  const fs::path path(model);
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  require(fs::exists(status), ErrorCode::kInvalidArgument, model, " does not exist",
          error && error != std::errc::no_such_file_or_directory
              ? " or cannot be reached: " + error.message()
              : "",
          "; give a GGUF file, a model folder, builtin:needle, or a name that `lycheedecode fetch "
          "--list` shows");
  if (fs::is_directory(status)) {
    return part == Part::kAll ? open_hf_folder(path) : open_hf_tokenizer(path);
  }
  require(is_gguf(path), ErrorCode::kInvalidArgument, model,
          " is not a GGUF file; a model is a GGUF file or a folder with config.json and "
          "safetensors files");
  return part == Part::kAll ? open_gguf(path) : open_gguf_tokenizer(path);
}

}  // namespace

void finish_model_files(ModelFiles& files) {
  std::array<int64_t, 16> bytes_by_dtype{};
  for (const auto& [name, view] : files.tensors) {
    files.weight_bytes += view.bytes();
    bytes_by_dtype.at(static_cast<size_t>(view.dtype)) += view.bytes();
  }
  if (files.weight_bytes > 0) {
    files.config.dtype =
        static_cast<DType>(std::ranges::max_element(bytes_by_dtype) - bytes_by_dtype.begin());
  }
}

ModelFiles open_model(const std::string& model) {
  return open_path(model, Part::kAll);
}

ModelFiles open_tokenizer(const std::string& model) {
  return open_path(model, Part::kTokenizer);
}

}  // namespace lychee::io
