#include "io/write_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

#include "base/check.h"

namespace lychee::io {

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

}  // namespace lychee::io
