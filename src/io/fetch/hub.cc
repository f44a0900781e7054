#include "io/fetch/hub.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/check.h"
#include "io/fetch/sha256.h"

namespace lychee::io {
namespace {

constexpr const char* kDefaultEndpoint = "https://huggingface.co";
constexpr size_t kMaxListingBytes = size_t{64} << 20U;
constexpr size_t kMaxComponentBytes = 200;  // leaves room for the suffixes of companion files
constexpr int kMaxIdleAttempts = 3;

std::string trimmed_variable(const char* name) {
  const char* value = std::getenv(name);
  const std::string_view text = value == nullptr ? "" : value;
  const size_t first = text.find_first_not_of(" \t\r\n");
  return first == std::string_view::npos
             ? std::string()
             : std::string(text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1));
}

std::string read_endpoint() {
  std::string endpoint = trimmed_variable("HF_ENDPOINT");
  while (endpoint.ends_with('/')) {
    endpoint.pop_back();
  }
  if (endpoint.empty()) {
    return kDefaultEndpoint;
  }
  require(endpoint.starts_with("http://") || endpoint.starts_with("https://"),
          ErrorCode::kInvalidArgument, "HF_ENDPOINT is '", endpoint,
          "': it must start with http:// or https://");
  return endpoint;
}

std::string read_token() {
  std::string token = trimmed_variable("HF_TOKEN");
  // A line break would smuggle further headers into the request.
  require(std::ranges::all_of(token, [](unsigned char c) { return c > 0x20 && c < 0x7f; }),
          ErrorCode::kInvalidArgument, "HF_TOKEN holds characters that no token has");
  return token;
}

std::string escape_path(std::string_view path) {
  std::string escaped;
  while (true) {
    const size_t slash = path.find('/');
    escaped += url_escape(path.substr(0, slash));
    if (slash == std::string_view::npos) {
      return escaped;
    }
    escaped += '/';
    path.remove_prefix(slash + 1);
  }
}

int64_t parse_size(const std::optional<std::string>& text) {
  int64_t value = -1;
  if (text) {
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
    if (error != std::errc() || end != text->data() + text->size() || value < 0) {
      return -1;
    }
  }
  return value;
}

// `W/"abc"` and `"abc"` name the same bytes here: the check is by hash.
std::string plain_etag(std::string etag) {
  if (etag.starts_with("W/")) {
    etag.erase(0, 2);
  }
  std::erase(etag, '"');
  return etag;
}

bool is_hex(std::string_view text, size_t length) {
  return text.size() == length && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

std::string server_message(const HttpResponse& response) {
  std::string message = response.header("x-error-message").value_or("");
  if (message.empty()) {
    const auto body = nlohmann::json::parse(response.error_body, nullptr, false);
    if (body.is_object() && body.contains("error") && body["error"].is_string()) {
      message = body["error"].get<std::string>();
    }
  }
  std::ranges::replace_if(
      message, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return message.substr(0, 300);
}

bool is_transient(int status) {
  return status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
}

HubListing parse_listing(const std::string& text, const std::string& repo) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  const bool usable = json.is_object() && json.contains("siblings") && json["siblings"].is_array();
  require(usable, ErrorCode::kIo, "the hub's listing of ", repo, " is not what its API promises");
  HubListing listing;
  try {
    listing.commit = json.value("sha", "");
    for (const auto& sibling : json["siblings"]) {
      HubFile file;
      file.name = sibling.at("rfilename").get<std::string>();
      file.bytes = sibling.value("size", int64_t{-1});
      file.etag = sibling.value("blobId", "");
      if (sibling.contains("lfs") && sibling["lfs"].is_object()) {
        file.bytes = sibling["lfs"].value("size", file.bytes);
        file.etag = sibling["lfs"].value("sha256", "");
      }
      listing.files.push_back(std::move(file));
    }
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorCode::kIo, "the hub's listing of ", repo, " is malformed: ", error.what());
  }
  return listing;
}

}  // namespace

bool is_safe_file_name(std::string_view name) {
  while (true) {
    const size_t slash = name.find('/');
    const std::string_view component = name.substr(0, slash);
    const bool safe =
        !component.empty() && component.size() <= kMaxComponentBytes && component.front() != '.' &&
        std::ranges::none_of(component,
                             [](unsigned char c) { return c < 0x20 || c == 0x7f || c == '\\'; });
    if (!safe || slash == std::string_view::npos) {
      return safe;
    }
    name.remove_prefix(slash + 1);
  }
}

Hub::Hub(FetchOptions options)
    : options_(std::move(options)), endpoint_(read_endpoint()), token_(read_token()) {}

HttpRequest Hub::request(const std::string& url) const {
  HttpRequest request;
  request.url = url;
  request.bearer_token = token_;
  request.connect_timeout_s = options_.connect_timeout_s;
  request.stall_timeout_s = options_.stall_timeout_s;
  return request;
}

void Hub::fail_response(const std::string& what, const HttpResponse& response) const {
  const std::string said = server_message(response);
  const std::string status =
      "HTTP " + std::to_string(response.status) + (said.empty() ? "" : " (" + said + ")");
  require(response.failure.empty(), ErrorCode::kIo, what, ": ", response.failure);
  require(response.status != 404, ErrorCode::kInvalidArgument, what, ": not found, ", status);
  if (response.status == 401 || response.status == 403) {
    fail(ErrorCode::kInvalidArgument, what, ": ", status, ": misspelt, private or gated; ",
         token_.empty() ? "set HF_TOKEN to a token that may read it"
                        : "HF_TOKEN may not read it: accept its terms on the hub, or use another");
  }
  fail(ErrorCode::kIo, what, ": ", status);
}

std::string Hub::file_url(const std::string& repo, const std::string& revision,
                          const std::string& file) const {
  return endpoint_ + "/" + escape_path(repo) + "/resolve/" + url_escape(revision) + "/" +
         escape_path(file);
}

std::string Hub::page_url(const std::string& repo, const std::string& revision) const {
  return endpoint_ + "/" + repo + "/tree/" + revision;
}

HubListing Hub::list(const std::string& repo) const {
  const std::string url = endpoint_ + "/api/models/" + escape_path(repo) + "?blobs=true";
  std::string text;
  const HttpResponse response = http_transfer(
      request(url), [](const HttpResponse&) {},
      [&](std::span<const std::byte> bytes) {
        require(text.size() + bytes.size() <= kMaxListingBytes, ErrorCode::kIo,
                "the hub's listing of ", repo, " is longer than ", kMaxListingBytes, " bytes");
        text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      });
  if (!response.ok()) {
    fail_response(url, response);
  }
  return parse_listing(text, repo);
}

HubFile Hub::inspect(const std::string& repo, const std::string& revision,
                     const std::string& file) const {
  HttpRequest head = request(file_url(repo, revision, file));
  head.head = true;
  // The redirect to the storage host carries what we ask for; the storage itself knows less.
  head.stop_at_header = "x-linked-etag";
  const HttpResponse response = http_transfer(
      head, [](const HttpResponse&) {}, [](std::span<const std::byte>) {});
  const auto linked = response.header(head.stop_at_header);
  if (!response.ok() && !(linked && response.status >= 300 && response.status < 400)) {
    fail_response(head.url, response);
  }
  HubFile info{file, -1, plain_etag(linked ? *linked : response.header("etag").value_or(""))};
  info.bytes = parse_size(response.header("x-linked-size"));
  if (info.bytes < 0 && response.ok()) {
    info.bytes = parse_size(response.header("content-length"));
  }
  return info;
}

namespace {

// Sends `get` and appends what comes to `part`, from the byte that `get` resumes from or, where the
// server does not resume, from the first.
HttpResponse append_response(const HttpRequest& get, const HubFile& file, PartFile& part,
                             const FetchProgress& progress) {
  return http_transfer(
      get,
      [&](const HttpResponse& head) {
        const std::string wanted = "bytes " + std::to_string(get.resume_from) + "-";
        const bool resumes =
            head.status == 206 && head.header("content-range").value_or("").starts_with(wanted);
        require(head.status != 206 || resumes, ErrorCode::kIo, get.url,
                ": the server sent another range than ", wanted);
        if (!resumes && get.resume_from > 0) {
          part.truncate(0);
        }
      },
      [&](std::span<const std::byte> bytes) {
        const auto count = static_cast<int64_t>(bytes.size());
        require(file.bytes < 0 || part.size() + count <= file.bytes, ErrorCode::kIo, get.url,
                ": the server sends more than the ", file.bytes, " bytes expected");
        part.append(bytes);
        if (progress) {
          progress(part.size(), file.bytes);
        }
      });
}

}  // namespace

void Hub::download(const std::string& repo, const std::string& revision, const HubFile& file,
                   PartFile& part, const FetchProgress& progress) const {
  const std::string url = file_url(repo, revision, file.name);
  bool progressed = false;
  for (int idle_attempts = 0; file.bytes < 0 || part.size() != file.bytes;) {
    HttpRequest get = request(url);
    get.resume_from = part.size();
    const HttpResponse response = append_response(get, file, part, progress);
    if (response.ok() && (file.bytes < 0 || part.size() == file.bytes)) {
      return;
    }
    const bool grew = part.size() > get.resume_from;
    progressed = progressed || grew;
    idle_attempts = grew ? 0 : idle_attempts + 1;
    if (response.status == 416) {
      part.truncate(0);
    }
    const bool retry =
        progressed || response.ok() || response.status == 416 || is_transient(response.status);
    if (!retry || idle_attempts >= kMaxIdleAttempts) {
      require(!response.ok(), ErrorCode::kIo, url, ": ended after ", part.size(), " of ",
              file.bytes, " bytes");
      fail_response(url, response);
    }
    std::this_thread::sleep_for(options_.retry_wait * (1 << idle_attempts));
  }
}

std::string find_mismatch(const std::filesystem::path& path, const HubFile& file) {
  const auto bytes = static_cast<int64_t>(std::filesystem::file_size(path));
  if (file.bytes >= 0 && bytes != file.bytes) {
    return file.name + " has " + std::to_string(bytes) + " bytes where " +
           std::to_string(file.bytes) + " were expected";
  }
  const bool sha256 = is_hex(file.etag, 64);
  if (!sha256 && !is_hex(file.etag, 40)) {
    return "";
  }
  Hasher hasher(sha256 ? HashKind::kSha256 : HashKind::kSha1);
  if (!sha256) {
    // git hashes a blob behind this header, its final zero byte included.
    const std::string header = "blob " + std::to_string(bytes);
    hasher.update(std::string_view(header.c_str(), header.size() + 1));
  }
  hash_file(hasher, path);
  const std::string digest = hasher.finish();
  return digest == file.etag ? ""
                             : file.name + " has the wrong checksum: " + digest + " where " +
                                   file.etag + " was expected";
}

}  // namespace lychee::io
