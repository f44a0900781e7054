#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

struct evp_md_ctx_st;

namespace lychee::io {

enum class HashKind {
  kSha256,
  kSha1,  // git's blob ids, which the hub offers for small files
};

// A running hash of bytes given in pieces.
class Hasher {
 public:
  explicit Hasher(HashKind kind = HashKind::kSha256);
  void update(std::span<const std::byte> bytes);
  void update(std::string_view text);
  // Lower-case hexadecimal digest of all that was given. Ends the hasher: call it once.
  [[nodiscard]] std::string finish();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

[[nodiscard]] std::string sha256_hex(std::span<const std::byte> bytes);
[[nodiscard]] std::string sha256_hex(std::string_view text);

// Feeds the whole file to `hasher`, a piece at a time. Throws Error(kIo) when it cannot be read.
void hash_file(Hasher& hasher, const std::filesystem::path& path);
[[nodiscard]] std::string sha256_file(const std::filesystem::path& path);

}  // namespace lychee::io
