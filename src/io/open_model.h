#pragma once

#include <filesystem>

#include "io/model_files.h"

// The two formats behind open_model() and open_tokenizer().
namespace lychee::io {

[[nodiscard]] ModelFiles open_gguf(const std::filesystem::path& path);
// Tokenizer, template, generation defaults; no tensors, and a config only where the file has a
// whole one that we support.
[[nodiscard]] ModelFiles open_gguf_tokenizer(const std::filesystem::path& path);
// True when the file's first bytes say so; false for one that cannot be read.
[[nodiscard]] bool begins_with_gguf_magic(const std::filesystem::path& path);

[[nodiscard]] ModelFiles open_hf_folder(const std::filesystem::path& folder);
[[nodiscard]] ModelFiles open_hf_tokenizer(const std::filesystem::path& folder);

// Sets what follows from the tensors: their bytes, and the dtype that most of these bytes have.
void finish_model_files(ModelFiles& files);

}  // namespace lychee::io
