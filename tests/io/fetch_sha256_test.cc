#include <gtest/gtest.h>

#include <fstream>

#include "io/fetch/sha256.h"
#include "lychee/error.h"

namespace lychee::io {
namespace {

TEST(Sha256, KnownDigests) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  Hasher hasher;
  hasher.update(std::string_view("a"));
  hasher.update(std::string_view("bc"));
  EXPECT_EQ(hasher.finish(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256, GitBlobIsSha1) {
  Hasher hasher(HashKind::kSha1);
  hasher.update(std::string_view("blob 6\0hello\n", 13));
  EXPECT_EQ(hasher.finish(), "ce013625030ba8dba906f756967f9e9ca394464a");
}

TEST(Sha256, FileLongerThanOnePiece) {
  const std::filesystem::path path = std::filesystem::path(testing::TempDir()) / "sha256_test.bin";
  const std::string text((size_t{1} << 20U) + 3, 'x');
  std::ofstream(path, std::ios::binary) << text;
  EXPECT_EQ(sha256_file(path), sha256_hex(text));
  std::filesystem::remove(path);
}

TEST(Sha256, MissingFileIsAnError) {
  EXPECT_THROW((void)sha256_file("/nonexistent/file"), Error);
  EXPECT_THROW((void)sha256_file(testing::TempDir()), Error);  // a folder opens but does not read
}

}  // namespace
}  // namespace lychee::io
