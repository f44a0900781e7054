#include "io/hub_server.h"

#include <gtest/gtest.h>
#include <httplib.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "io/fetch/sha256.h"
#include "lychee/error.h"

namespace lychee::io {
namespace fs = std::filesystem;
namespace {

constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";

std::string blob_sha1_of(const std::string& text) {
  Hasher hasher(HashKind::kSha1);
  const std::string header = "blob " + std::to_string(text.size());
  hasher.update(std::string_view(header.c_str(), header.size() + 1));
  hasher.update(text);
  return hasher.finish();
}

// A proxy is asked with the whole URL.
constexpr const char* kOptionalHost = "(?:http://[^/]+)?";

}  // namespace

ScopedVariable::ScopedVariable(std::string name, const std::optional<std::string>& value)
    : name_(std::move(name)) {
  if (const char* old = std::getenv(name_.c_str())) {
    before_ = old;
  }
  set(name_, value);
}

ScopedVariable::~ScopedVariable() {
  set(name_, before_);
}

void ScopedVariable::set(const std::string& name, const std::optional<std::string>& value) {
  if (value) {
    ::setenv(name.c_str(), value->c_str(), 1);
  } else {
    ::unsetenv(name.c_str());
  }
}

HubServer::HubServer()
    : hub_(std::make_unique<httplib::Server>()), storage_(std::make_unique<httplib::Server>()) {
  const std::string host = kOptionalHost;
  hub_->Get(host + "/api/models/([^/]+/[^/]+)",
            [this](const auto& request, auto& response) { serve_listing(request, response); });
  hub_->Get(host + "/([^/]+/[^/]+)/resolve/([^/]+)/(.+)",
            [this](const auto& request, auto& response) { serve_file(request, response); });
  hub_->Get("/loop", [](const auto&, auto& response) { response.set_redirect("/loop"); });
  storage_->Get("/([^/]+/[^/]+)/(.+)", [this](const auto& request, auto& response) {
    note(request, true);
    serve_content(request, response,
                  find(request.matches[1].str(), request.matches[2].str())->content);
  });
  hub_port_ = hub_->bind_to_any_port("127.0.0.1");
  storage_port_ = storage_->bind_to_any_port("127.0.0.1");
  hub_thread_ = std::thread([this] { hub_->listen_after_bind(); });
  storage_thread_ = std::thread([this] { storage_->listen_after_bind(); });
  while (!hub_->is_running() || !storage_->is_running()) {
    std::this_thread::yield();
  }
}

HubServer::~HubServer() {
  hub_->stop();
  storage_->stop();
  hub_thread_.join();
  storage_thread_.join();
}

std::string HubServer::endpoint() const {
  return "http://127.0.0.1:" + std::to_string(hub_port_);
}

std::vector<SeenRequest> HubServer::seen() const {
  const std::lock_guard guard(mutex_);
  return seen_;
}

int HubServer::count_downloads() const {
  const std::vector<SeenRequest> requests = seen();
  return static_cast<int>(std::ranges::count_if(requests, [](const SeenRequest& request) {
    return request.method == "GET" && request.to_storage;
  }));
}

void HubServer::forget() {
  const std::lock_guard guard(mutex_);
  seen_.clear();
}

void HubServer::note(const httplib::Request& request, bool to_storage) {
  const std::lock_guard guard(mutex_);
  seen_.push_back({request.method, request.path, request.get_header_value("Authorization"),
                   request.get_header_value("Range"), to_storage});
}

const ServedFile* HubServer::find(const std::string& repo, const std::string& name) const {
  const auto files = repos.find(repo);
  if (files == repos.end()) {
    return nullptr;
  }
  const auto file = files->second.find(name);
  return file == files->second.end() ? nullptr : &file->second;
}

void HubServer::serve_listing(const httplib::Request& request, httplib::Response& response) {
  note(request, false);
  const auto files = repos.find(request.matches[1].str());
  if (files == repos.end()) {
    response.status = 404;
    response.set_header("X-Error-Code", "RepoNotFound");
    response.set_content(R"({"error":"Repository not found"})", "application/json");
    return;
  }
  nlohmann::json json{
      {"id", files->first}, {"sha", kCommit}, {"siblings", nlohmann::json::array()}};
  for (const auto& [name, file] : files->second) {
    nlohmann::json sibling{{"rfilename", name}};
    if (sizes) {
      sibling["size"] = file.content.size();
      sibling["blobId"] = blob_sha1_of(file.content);
      if (file.lfs) {
        sibling["lfs"] = {{"sha256", sha256_hex(file.content)},
                          {"size", file.content.size()},
                          {"pointerSize", 134}};
      }
    }
    json["siblings"].push_back(sibling);
  }
  response.set_content(raw_listing.empty() ? json.dump() : raw_listing, "application/json");
}

void HubServer::serve_file(const httplib::Request& request, httplib::Response& response) {
  note(request, false);
  if (!required_token.empty() &&
      request.get_header_value("Authorization") != "Bearer " + required_token) {
    response.status = 401;
    response.set_header("X-Error-Message", "Access to this model is restricted.");
    return;
  }
  const std::string repo = request.matches[1].str();
  const std::string name = request.matches[3].str();
  const ServedFile* file = find(repo, name);
  if (file == nullptr) {
    response.status = 404;
    response.set_header("X-Error-Code", "EntryNotFound");
    response.set_header("X-Error-Message", "Entry not found");
    return;
  }
  response.set_header("X-Repo-Commit", kCommit);
  if (!file->lfs) {
    response.set_header("ETag", "\"" + blob_sha1_of(file->content) + "\"");
    serve_content(request, response, file->content);
    return;
  }
  const std::string etag =
      file->linked_etag.empty() ? sha256_hex(file->content) : file->linked_etag;
  response.set_header("X-Linked-Etag", "\"" + etag + "\"");
  response.set_header(
      "X-Linked-Size",
      std::to_string(file->linked_size.value_or(static_cast<int64_t>(file->content.size()))));
  response.set_redirect("http://127.0.0.1:" + std::to_string(storage_port_) + "/" + repo + "/" +
                        name);
}

void HubServer::serve_content(const httplib::Request& request, httplib::Response& response,
                              const std::string& content) {
  if (request.method == "GET" && failures > 0) {
    --failures;
    response.status = 503;
    return;
  }
  if (!ranges) {
    // httplib would serve the range by itself.
    const_cast<httplib::Request&>(request).ranges.clear();
  }
  const bool cut = request.method == "GET" && cuts > 0;
  if (cut) {
    --cuts;
  }
  const auto limit = cut ? static_cast<size_t>(cut_bytes.load()) : content.size();
  response.set_content_provider(
      content.size(), "application/octet-stream",
      [&content, limit, sent = size_t{0}](size_t offset, size_t length,
                                          httplib::DataSink& sink) mutable {
        const size_t piece = std::min({length, size_t{16384}, limit - sent});
        if (piece == 0) {
          return false;
        }
        sent += piece;
        return sink.write(content.data() + offset, piece);
      });
}

FetchFixture::FetchFixture() {
  std::string pattern = testing::TempDir() + "lychee_fetch_XXXXXX";
  cache = ::mkdtemp(pattern.data());
  const auto set = [&](const char* name, const std::optional<std::string>& value) {
    variables_.push_back(std::make_unique<ScopedVariable>(name, value));
  };
  for (const char* name : {"http_proxy", "https_proxy", "all_proxy", "ALL_PROXY", "no_proxy",
                           "NO_PROXY", "HF_TOKEN"}) {
    set(name, std::nullopt);
  }
  set("XDG_CACHE_HOME", cache.string());
  set("HF_ENDPOINT", hub.endpoint());
}

FetchFixture::~FetchFixture() {
  variables_.clear();
  fs::remove_all(cache);
}

std::vector<std::string> FetchFixture::cached_files() const {
  std::vector<std::string> names;
  const fs::path models = cache / "lycheedecode" / "models";
  if (fs::exists(models)) {
    for (const auto& entry : fs::recursive_directory_iterator(models)) {
      if (entry.is_regular_file()) {
        names.push_back(fs::relative(entry.path(), models).string());
      }
    }
  }
  std::ranges::sort(names);
  return names;
}

std::string pattern_bytes(size_t count) {
  std::string text(count, '\0');
  uint32_t state = 12345;
  for (char& c : text) {
    state = state * 1664525U + 1013904223U;
    c = static_cast<char>(state >> 24U);
  }
  return text;
}

std::string read_all(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    const bool ours = error.code() == ErrorCode::kIo;
    return (ours                                   ? "io: "
            : error.code() == ErrorCode::kInternal ? "internal: "
                                                   : "user: ") +
           std::string(error.what());
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

}  // namespace lychee::io
