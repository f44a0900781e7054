#include "io/fetch/fetch_hub.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>

#include "base/check.h"
#include "io/fetch/cache_dir.h"
#include "io/fetch/fetch_hub_folder.h"
#include "io/fetch/sha256.h"

namespace lychee::io {
namespace fs = std::filesystem;
namespace {

// The hub's own rule for names of owners and repositories.
bool is_hub_identifier(std::string_view text) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  return !text.empty() && text.size() <= 96 && text.front() != '.' && text.front() != '-' &&
         text.back() != '.' && text.find("..") == std::string_view::npos &&
         std::ranges::all_of(text, allowed);
}

fs::path file_target(const HubName& name) {
  return models_dir() / "hf-files" / name.owner / name.repo / name.file;
}

fs::path folder_target(const HubName& name) {
  return models_dir() / "hf" / name.owner / name.repo;
}

FetchResult describe_cached_file(const fs::path& path) {
  return {path, static_cast<int64_t>(fs::file_size(path)), sha256_file(path), "cache"};
}

FetchResult fetch_hub_file(const HubName& name, const FetchOptions& options) {
  const fs::path target = file_target(name);
  if (fs::is_regular_file(target)) {
    return describe_cached_file(target);
  }
  const Hub hub(options);
  const HubFile file = hub.inspect(name.id(), "main", name.file);
  create_folder(target.parent_path());
  const FileLock lock(target);
  if (fs::is_regular_file(target)) {
    return describe_cached_file(target);
  }
  remove_stale_companions(target.parent_path());
  const std::string version = file.etag.substr(0, 16);
  const bool usable = std::ranges::all_of(
      version, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
  // The name of the part tells which version of the file it began.
  const fs::path part = companion(target, usable ? version + ".part" : "part");
  if (!usable || version.empty()) {
    fs::remove(part);
  }
  download_verified(hub, name.id(), "main", file, part, options.progress);
  FetchResult result{target, static_cast<int64_t>(fs::file_size(part)), sha256_file(part),
                     hub.file_url(name.id(), "main", name.file)};
  move_into_place(part, target);
  return result;
}

FetchResult fetch_hub_repo(const HubName& name, const FetchOptions& options) {
  const fs::path target = folder_target(name);
  if (auto cached = describe_cached_folder(target)) {
    return *cached;
  }
  const Hub hub(options);
  const HubListing listing = hub.list(name.id());
  const std::vector<HubFile> files = choose_model_files(listing.files, name.id());
  create_folder(target.parent_path());
  const FileLock lock(target);
  if (auto cached = describe_cached_folder(target)) {
    return *cached;
  }
  remove_stale_companions(target.parent_path());
  return fetch_folder(hub, name.id(), listing.commit, files, target, options.progress);
}

}  // namespace

HubName parse_hub_name(std::string_view name) {
  const std::string_view body =
      name.substr(name.starts_with(kHubPrefix) ? kHubPrefix.size() : name.size());
  const size_t first = body.find('/');
  const size_t second = first == std::string_view::npos ? first : body.find('/', first + 1);
  require(first != std::string_view::npos, ErrorCode::kInvalidArgument, "'", name,
          "' is no hub model: write hf:OWNER/REPO or hf:OWNER/REPO/FILE");
  HubName parsed;
  parsed.owner = body.substr(0, first);
  parsed.repo =
      body.substr(first + 1, second == std::string_view::npos ? second : second - first - 1);
  parsed.file = second == std::string_view::npos ? std::string_view() : body.substr(second + 1);
  for (const std::string& part : {parsed.owner, parsed.repo}) {
    require(is_hub_identifier(part), ErrorCode::kInvalidArgument, "'", name, "': '", part,
            "' is no name of the hub (letters, digits, '-', '_' and '.', at most 96)");
  }
  require(second == std::string_view::npos || is_safe_file_name(parsed.file),
          ErrorCode::kInvalidArgument, "'", name, "': '", parsed.file,
          "' is no file name that can be stored");
  return parsed;
}

std::optional<fs::path> find_cached_hub_model(const HubName& name) {
  if (name.file.empty()) {
    const fs::path target = folder_target(name);
    return fs::is_directory(target) ? std::optional(model_path_in(target)) : std::nullopt;
  }
  const fs::path target = file_target(name);
  return fs::is_regular_file(target) ? std::optional(target) : std::nullopt;
}

FetchResult fetch_hub_model(const HubName& name, const FetchOptions& options) {
  return name.file.empty() ? fetch_hub_repo(name, options) : fetch_hub_file(name, options);
}

void download_verified(const Hub& hub, const std::string& repo, const std::string& revision,
                       const HubFile& file, const fs::path& part, const FetchProgress& progress) {
  while (true) {
    bool resumed = false;
    {
      PartFile growing(part, file.bytes);
      if (file.bytes >= 0 && growing.size() > file.bytes) {
        growing.truncate(0);
      }
      resumed = growing.size() > 0;
      require_free_space(part.parent_path(), file.bytes - growing.size());
      hub.download(repo, revision, file, growing, progress);
    }
    const std::string mismatch = find_mismatch(part, file);
    if (mismatch.empty()) {
      return;
    }
    fs::remove(part);
    require(resumed, ErrorCode::kIo, hub.file_url(repo, revision, file.name), ": ", mismatch);
  }
}

}  // namespace lychee::io
