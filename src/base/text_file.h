#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace lychee {

// The bytes of a file. Throws Error(kInvalidArgument) when it is missing or unreadable.
[[nodiscard]] std::string read_text_file(const std::filesystem::path& path);

// Writes to a temporary name and renames: readers see the old file or the new one, never a part.
// Throws Error(kIo).
void write_and_rename(const std::filesystem::path& path, std::string_view text);

}  // namespace lychee
