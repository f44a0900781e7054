#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace lychee::io {

// The folder of the head plan that ships for a model, by its catalogue name or by the file that the
// catalogue has under it: `plans/<name>` or `share/lycheedecode/plans/<name>`, in `beside` or one
// of the folders above it. Nothing for a model without one.
[[nodiscard]] std::optional<std::filesystem::path> find_shipped_plan(
    const std::string& model, const std::filesystem::path& beside);

// The folder that this program lies in; empty when the system does not tell.
[[nodiscard]] std::filesystem::path program_folder();

}  // namespace lychee::io
