#include "base/text_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <span>

#include "base/check.h"
#include "base/mapped_file.h"

namespace lychee {

std::string read_text_file(const std::filesystem::path& path) {
  const MappedFile file(path);
  const std::span<const std::byte> bytes = file.bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void write_and_rename(const std::filesystem::path& path, std::string_view text) {
  namespace fs = std::filesystem;
  const fs::path temporary =
      path.parent_path() / ("." + path.filename().string() + "." + std::to_string(::getpid()));
  std::ofstream stream(temporary, std::ios::binary);
  stream.write(text.data(), static_cast<std::streamsize>(text.size()));
  stream.close();
  std::error_code error;
  if (stream.good()) {
    fs::rename(temporary, path, error);
  }
  if (!stream.good() || error) {
    const std::string reason = error ? error.message() : std::strerror(errno);
    std::error_code ignored;
    fs::remove(temporary, ignored);
    fail(ErrorCode::kIo, "cannot write ", path.string(), ": ", reason);
  }
}

}  // namespace lychee
