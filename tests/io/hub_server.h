#pragma once

#include <atomic>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "io/fetch/catalogue.h"

namespace httplib {
class Server;
struct Request;
struct Response;
}  // namespace httplib

namespace lychee::io {

// Sets an environment variable, or removes it, until the end of the scope.
class ScopedVariable {
 public:
  ScopedVariable(std::string name, const std::optional<std::string>& value);
  ~ScopedVariable();
  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;

 private:
  static void set(const std::string& name, const std::optional<std::string>& value);
  std::string name_;
  std::optional<std::string> before_;
};

struct SeenRequest {
  std::string method, path, authorization, range;
  bool to_storage = false;
};

struct ServedFile {
  std::string content;
  bool lfs = true;          // served by the storage host after a redirect
  std::string linked_etag;  // replaces the true SHA-256
  std::optional<int64_t> linked_size;
};

// Speaks as much of the hub's API as a download needs, on loopback; a second port plays the storage
// host that large files are redirected to.
class HubServer {
 public:
  HubServer();
  ~HubServer();

  [[nodiscard]] std::string endpoint() const;
  [[nodiscard]] std::vector<SeenRequest> seen() const;
  [[nodiscard]] int count_downloads() const;  // GETs of file contents
  void forget();

  std::map<std::string, std::map<std::string, ServedFile>> repos;  // owner/name -> file -> served
  std::string required_token;
  std::atomic<int> cuts{0};  // so many downloads end after `cut_bytes`
  std::atomic<int64_t> cut_bytes{0};
  std::atomic<bool> ranges{true};  // honour Range
  std::atomic<int> failures{0};    // so many downloads answer 503 first
  std::atomic<bool> sizes{true};   // offer sizes and hashes in listings
  std::string raw_listing;         // served instead of the listing

 private:
  void note(const httplib::Request& request, bool to_storage);
  void serve_listing(const httplib::Request& request, httplib::Response& response);
  void serve_file(const httplib::Request& request, httplib::Response& response);
  void serve_content(const httplib::Request& request, httplib::Response& response,
                     const std::string& content);
  const ServedFile* find(const std::string& repo, const std::string& name) const;

  std::unique_ptr<httplib::Server> hub_, storage_;
  int hub_port_ = 0, storage_port_ = 0;
  std::thread hub_thread_, storage_thread_;
  mutable std::mutex mutex_;
  std::vector<SeenRequest> seen_;
};

// A cache folder of its own and a hub on loopback, for one test.
class FetchFixture {
 public:
  FetchFixture();
  ~FetchFixture();

  HubServer hub;
  std::filesystem::path cache;
  // Names of all files below the cache folder, sorted, relative to models/.
  [[nodiscard]] std::vector<std::string> cached_files() const;

 private:
  std::vector<std::unique_ptr<ScopedVariable>> variables_;
};

// Bytes that repeat with no short period.
[[nodiscard]] std::string pattern_bytes(size_t count);
[[nodiscard]] std::string read_all(const std::filesystem::path& path);
// What `call` throws, as text; fails the test when it throws nothing.
[[nodiscard]] std::string error_of(const std::function<void()>& call);

}  // namespace lychee::io
