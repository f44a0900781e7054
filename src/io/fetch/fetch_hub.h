#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "io/fetch/fetch.h"
#include "io/fetch/hub.h"

namespace lychee::io {

inline constexpr std::string_view kHubPrefix = "hf:";

// A model of the hub: one file of a repository, or its model folder when `file` is empty.
struct HubName {
  std::string owner;
  std::string repo;
  std::string file;

  [[nodiscard]] std::string id() const { return owner + "/" + repo; }
};

// Parses `hf:OWNER/REPO[/FILE]`. Throws Error(kInvalidArgument) for names the hub does not have and
// for those that would lead out of the cache folder.
[[nodiscard]] HubName parse_hub_name(std::string_view name);

[[nodiscard]] std::optional<std::filesystem::path> find_cached_hub_model(const HubName& name);

// See fetch(). Without a file name: the safetensors folder (configuration, weights, tokenizer,
// template), or the only GGUF file of a repository that has nothing else.
FetchResult fetch_hub_model(const HubName& name, const FetchOptions& options);

// Downloads `file` to `part`, resuming what lies there, until size and hash agree with `file`.
// Throws Error(kIo) when they do not after a download from the first byte on.
void download_verified(const Hub& hub, const std::string& repo, const std::string& revision,
                       const HubFile& file, const std::filesystem::path& part,
                       const FetchProgress& progress);

}  // namespace lychee::io
