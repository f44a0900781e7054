#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "io/fetch/fetch.h"
#include "io/fetch/hub.h"

namespace lychee::io {

// Those files of a repository that make a model: configuration, tokenizer, template, licence and
// one set of safetensors; or its only GGUF file. Throws Error(kInvalidArgument) listing several
// GGUF files, Error(kUnsupported) when there is neither.
[[nodiscard]] std::vector<HubFile> choose_model_files(const std::vector<HubFile>& files,
                                                      const std::string& repo);

// Downloads `files` of one commit into a hidden folder beside `target`, notes sizes and hashes in
// it and renames it to `target`. The caller holds the lock of `target`.
FetchResult fetch_folder(const Hub& hub, const std::string& repo, const std::string& commit,
                         std::vector<HubFile> files, const std::filesystem::path& target,
                         const FetchProgress& progress);

// What fetch_folder noted, when the files still have the sizes noted.
[[nodiscard]] std::optional<FetchResult> describe_cached_folder(
    const std::filesystem::path& target);

// The folder itself, or the GGUF file that is all of it.
[[nodiscard]] std::filesystem::path model_path_in(const std::filesystem::path& folder);

}  // namespace lychee::io
