#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "io/fetch/fetch_options.h"
#include "io/fetch/fetch_part_file.h"
#include "io/fetch/http.h"

namespace lychee::io {

// A file of a hub repository.
struct HubFile {
  std::string name;    // path within the repository, with '/'
  int64_t bytes = -1;  // -1: not offered
  std::string etag;    // SHA-256 (64 hex digits), git blob SHA-1 (40), or something else
};

struct HubListing {
  std::string commit;
  std::vector<HubFile> files;
};

// True for a name that may become a file here: no empty, hidden or over-long component, no `..`, no
// backslash, no control character.
[[nodiscard]] bool is_safe_file_name(std::string_view name);

// The Hugging Face hub, or the mirror at HF_ENDPOINT. HF_TOKEN is sent to it, and to no host it
// redirects to. Faults are Error(kInvalidArgument) when the user can mend them (no such repository,
// no permission), else Error(kIo). Repositories are named `owner/name`.
class Hub {
 public:
  // Reads HF_ENDPOINT and HF_TOKEN.
  explicit Hub(FetchOptions options);

  [[nodiscard]] HubListing list(const std::string& repo) const;
  // Size and hash of one file, without its bytes.
  [[nodiscard]] HubFile inspect(const std::string& repo, const std::string& revision,
                                const std::string& file) const;
  // Appends what `part` lacks of `file`. Resumes cut connections, as long as bytes keep coming.
  // `progress` hears of the bytes of this file.
  void download(const std::string& repo, const std::string& revision, const HubFile& file,
                PartFile& part, const FetchProgress& progress) const;

  [[nodiscard]] std::string file_url(const std::string& repo, const std::string& revision,
                                     const std::string& file) const;
  // The repository at one revision, for people.
  [[nodiscard]] std::string page_url(const std::string& repo, const std::string& revision) const;

 private:
  [[nodiscard]] HttpRequest request(const std::string& url) const;
  [[noreturn]] void fail_response(const std::string& what, const HttpResponse& response) const;

  FetchOptions options_;
  std::string endpoint_;
  std::string token_;
};

// What of the file at `path` contradicts `file`, for people; empty when size and hash agree.
[[nodiscard]] std::string find_mismatch(const std::filesystem::path& path, const HubFile& file);

}  // namespace lychee::io
