#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <memory>
#include <utility>

#include "base/check.h"
#include "base/mapped_file.h"
#include "io/fetch/sha256.h"
#include "io/gguf/gguf.h"
#include "io/gguf/gguf_config.h"
#include "io/gguf/gguf_tokenizer.h"
#include "io/open_model.h"

namespace lychee::io {
namespace {

// What needs the header alone.
ModelFiles read_header(const std::filesystem::path& path, const GgufHeader& header,
                       std::span<const std::byte> file) {
  ModelFiles files;
  files.name = path.filename().string();
  files.path = path;
  files.naming = TensorNaming::kGguf;
  files.generation = read_gguf_generation(header.metadata);
  files.tokenizer = read_gguf_tokenizer(header.metadata);
  if (const std::string* chat_template = header.metadata.string("tokenizer.chat_template")) {
    files.chat_template = *chat_template;
  }
  const uint64_t header_bytes = std::min<uint64_t>(header.data_offset, file.size());
  files.header_sha256 = sha256_hex(file.first(header_bytes));
  return files;
}

}  // namespace

ModelFiles open_gguf(const std::filesystem::path& path) {
  auto file = std::make_shared<const MappedFile>(path);
  const GgufHeader header = parse_gguf_header(file->bytes(), path.string());
  ModelFiles files = read_header(path, header, file->bytes());
  files.tensors = gguf_tensors(header, file->bytes());
  files.config = read_gguf_config(header.metadata, files.tensors);
  files.storage.push_back(std::move(file));
  finish_model_files(files);
  return files;
}

ModelFiles open_gguf_tokenizer(const std::filesystem::path& path) {
  const MappedFile file(path);
  const GgufHeader header = parse_gguf_header(file.bytes(), path.string());
  return read_header(path, header, file.bytes());
}

bool begins_with_gguf_magic(const std::filesystem::path& path) {
  std::array<char, 4> magic{};
  std::ifstream stream(path, std::ios::binary);
  return stream.read(magic.data(), magic.size()) && std::string_view(magic.data(), 4) == "GGUF";
}

}  // namespace lychee::io
