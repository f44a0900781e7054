#pragma once

#include <filesystem>
#include <string_view>

namespace lychee::io {

// Writes to a temporary name and renames: readers see the old file or the new one, never a part.
// Throws Error(kIo).
void write_and_rename(const std::filesystem::path& path, std::string_view text);

}  // namespace lychee::io
