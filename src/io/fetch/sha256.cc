#include "io/fetch/sha256.h"

#include <openssl/evp.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <vector>

#include "base/check.h"

namespace lychee::io {

void Hasher::Free::operator()(evp_md_ctx_st* context) const {
  EVP_MD_CTX_free(context);
}

Hasher::Hasher(HashKind kind) : context_(EVP_MD_CTX_new()) {
  const EVP_MD* algorithm = kind == HashKind::kSha256 ? EVP_sha256() : EVP_sha1();
  require(context_ != nullptr && EVP_DigestInit_ex(context_.get(), algorithm, nullptr) == 1,
          ErrorCode::kInternal, "OpenSSL refuses to start a hash");
}

void Hasher::update(std::span<const std::byte> bytes) {
  require(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1, ErrorCode::kInternal,
          "OpenSSL refuses to hash");
}

void Hasher::update(std::string_view text) {
  update(std::as_bytes(std::span(text)));
}

std::string Hasher::finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  require(EVP_DigestFinal_ex(context_.get(), digest.data(), &length) == 1, ErrorCode::kInternal,
          "OpenSSL refuses to end a hash");
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  for (unsigned int i = 0; i < length; ++i) {
    hex += kDigits[digest[i] >> 4U];
    hex += kDigits[digest[i] & 15U];
  }
  return hex;
}

std::string sha256_hex(std::span<const std::byte> bytes) {
  Hasher hasher;
  hasher.update(bytes);
  return hasher.finish();
}

std::string sha256_hex(std::string_view text) {
  return sha256_hex(std::as_bytes(std::span(text)));
}

void hash_file(Hasher& hasher, const std::filesystem::path& path) {
  constexpr size_t kPieceBytes = size_t{1} << 20U;
  std::ifstream file(path, std::ios::binary);
  require(file.good(), ErrorCode::kIo, "cannot read ", path.string(), ": ", std::strerror(errno));
  std::vector<char> piece(kPieceBytes);
  while (file.good()) {
    file.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    hasher.update(std::string_view(piece.data(), static_cast<size_t>(file.gcount())));
  }
  require(file.eof(), ErrorCode::kIo, "cannot read ", path.string(), " to its end");
}

std::string sha256_file(const std::filesystem::path& path) {
  Hasher hasher;
  hash_file(hasher, path);
  return hasher.finish();
}

}  // namespace lychee::io
