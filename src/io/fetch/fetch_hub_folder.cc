#include "io/fetch/fetch_hub_folder.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "io/fetch/cache_dir.h"
#include "io/fetch/fetch_hub.h"
#include "io/fetch/sha256.h"

namespace lychee::io {
namespace fs = std::filesystem;
namespace {

constexpr const char* kManifest = ".fetched.json";
constexpr const char* kCommit = ".commit";
constexpr std::array kSideFiles = {"config.json",        "generation_config.json",
                                   "tokenizer.json",     "tokenizer_config.json",
                                   "tokenizer.model",    "special_tokens_map.json",
                                   "added_tokens.json",  "vocab.json",
                                   "merges.txt",         "chat_template.jinja",
                                   "chat_template.json", "LICENSE",
                                   "LICENSE.txt",        "LICENSE.md"};
constexpr const char* kIndex = "model.safetensors.index.json";

bool has_file(const std::vector<HubFile>& files, std::string_view name) {
  return std::ranges::any_of(files, [&](const HubFile& file) { return file.name == name; });
}

// Some repositories hold the weights twice, whole or under the names of another program.
std::vector<HubFile> choose_safetensors(const std::vector<HubFile>& files) {
  const bool sharded = has_file(files, kIndex);
  const bool single = has_file(files, "model.safetensors");
  std::vector<HubFile> chosen;
  std::ranges::copy_if(files, std::back_inserter(chosen), [&](const HubFile& file) {
    const std::string_view name = file.name;
    if (sharded) {
      return name == kIndex || (name.starts_with("model-") && name.ends_with(".safetensors"));
    }
    return single ? name == "model.safetensors" : name.ends_with(".safetensors");
  });
  return chosen;
}

std::string list_names(const std::vector<HubFile>& files) {
  std::string names;
  for (const HubFile& file : files) {
    names += (names.empty() ? "" : ", ") + file.name;
  }
  return names;
}

struct FolderFile {
  std::string name;
  int64_t bytes = 0;
  std::string sha256;
};

FetchResult summarize(const fs::path& target, std::vector<FolderFile> files, std::string source) {
  std::ranges::sort(files, {}, &FolderFile::name);
  FetchResult result{model_path_in(target), 0, "", std::move(source)};
  Hasher hasher;
  for (const FolderFile& file : files) {
    result.bytes += file.bytes;
    hasher.update(file.sha256 + "  " + file.name + "\n");
  }
  const bool is_folder = result.path == target;
  result.sha256 = is_folder || files.size() != 1 ? hasher.finish() : files.front().sha256;
  return result;
}

void write_manifest(const fs::path& path, const std::vector<FolderFile>& files,
                    const std::string& source) {
  nlohmann::json json{{"source", source}, {"files", nlohmann::json::array()}};
  for (const FolderFile& file : files) {
    json["files"].push_back({{"name", file.name}, {"bytes", file.bytes}, {"sha256", file.sha256}});
  }
  std::ofstream out(path);
  out << json.dump(2) << '\n';
  out.close();
  if (!out.good()) {
    throw DiskError("cannot write " + path.string());
  }
}

// Keeps what an interrupted fetch of the same commit left; another commit's files would not fit.
void prepare_staging(const fs::path& staging, const std::string& commit) {
  std::string kept;
  std::ifstream(staging / kCommit) >> kept;
  if (commit.empty() || kept != commit) {
    fs::remove_all(staging);
  }
  create_folder(staging);
  std::ofstream(staging / kCommit) << commit;
}

int64_t total_bytes(const std::vector<HubFile>& files) {
  int64_t total = 0;
  for (const HubFile& file : files) {
    if (file.bytes < 0 || __builtin_add_overflow(total, file.bytes, &total)) {
      return -1;
    }
  }
  return total;
}

int64_t staged_bytes(const fs::path& staging) {
  int64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(staging)) {
    bytes += static_cast<int64_t>(entry.file_size());
  }
  return bytes;
}

}  // namespace

std::vector<HubFile> choose_model_files(const std::vector<HubFile>& files,
                                        const std::string& repo) {
  std::vector<HubFile> usable;
  std::ranges::copy_if(files, std::back_inserter(usable), [](const HubFile& file) {
    return is_safe_file_name(file.name) && file.name.find('/') == std::string::npos;
  });
  std::vector<HubFile> chosen = choose_safetensors(usable);
  if (!chosen.empty() && has_file(usable, "config.json")) {
    std::ranges::copy_if(usable, std::back_inserter(chosen), [](const HubFile& file) {
      return std::ranges::find(kSideFiles, file.name) != kSideFiles.end();
    });
    return chosen;
  }
  std::vector<HubFile> ggufs;
  std::ranges::copy_if(files, std::back_inserter(ggufs), [](const HubFile& file) {
    return is_safe_file_name(file.name) && file.name.ends_with(".gguf");
  });
  require(!ggufs.empty(), ErrorCode::kUnsupported, "hf:", repo,
          " holds neither a GGUF file nor config.json with safetensors");
  require(ggufs.size() == 1, ErrorCode::kInvalidArgument, "hf:", repo,
          " holds several GGUF files: name one as hf:", repo, "/FILE, of ", list_names(ggufs));
  require(ggufs.front().name.find('/') == std::string::npos, ErrorCode::kInvalidArgument,
          "hf:", repo, " holds its GGUF file in a folder: name it as hf:", repo, "/",
          ggufs.front().name);
  return ggufs;
}

FetchResult fetch_folder(const Hub& hub, const std::string& repo, const std::string& commit,
                         std::vector<HubFile> files, const fs::path& target,
                         const FetchProgress& progress) {
  const std::string revision = commit.empty() ? "main" : commit;
  for (HubFile& file : files) {
    if (file.bytes < 0) {
      file = hub.inspect(repo, revision, file.name);
    }
  }
  const fs::path staging = companion(target, "part");
  prepare_staging(staging, commit);
  const int64_t total = total_bytes(files);
  require_free_space(staging, total - staged_bytes(staging));
  std::vector<FolderFile> fetched;
  int64_t done = 0;
  for (const HubFile& file : files) {
    const fs::path path = staging / file.name;
    if (!fs::is_regular_file(path)) {
      const fs::path part = companion(path, "part");
      download_verified(hub, repo, revision, file, part, [&](int64_t bytes, int64_t) {
        if (progress) {
          progress(done + bytes, total);
        }
      });
      move_into_place(part, path);
    }
    fetched.push_back({file.name, static_cast<int64_t>(fs::file_size(path)), sha256_file(path)});
    done += fetched.back().bytes;
  }
  const std::string source = hub.page_url(repo, revision);
  write_manifest(staging / kManifest, fetched, source);
  fs::remove(staging / kCommit);
  fs::remove_all(target);
  move_into_place(staging, target);
  return summarize(target, std::move(fetched), source);
}

std::optional<FetchResult> describe_cached_folder(const fs::path& target) {
  std::ifstream file(target / kManifest);
  const auto json = nlohmann::json::parse(file, nullptr, false);
  std::vector<FolderFile> files;
  try {
    for (const auto& entry : json.at("files")) {
      files.push_back({entry.at("name"), entry.at("bytes"), entry.at("sha256")});
      std::error_code absent;
      if (static_cast<int64_t>(fs::file_size(target / files.back().name, absent)) !=
              files.back().bytes ||
          absent) {
        return std::nullopt;
      }
    }
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
  return summarize(target, std::move(files), "cache");
}

fs::path model_path_in(const fs::path& folder) {
  fs::path only;
  int ggufs = 0;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() == ".gguf" && it->path().filename().string().front() != '.') {
      only = it->path();
      ++ggufs;
    }
  }
  return ggufs == 1 && !fs::exists(folder / "config.json") ? only : folder;
}

}  // namespace lychee::io
