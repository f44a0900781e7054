#include "base/text_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "support/expect_error.h"

namespace lychee {
namespace {

namespace fs = std::filesystem;

class TextFileTest : public testing::Test {
 protected:
  TextFileTest() { fs::create_directories(folder_); }
  ~TextFileTest() override { fs::remove_all(folder_); }

  fs::path folder_ = fs::path(testing::TempDir()) / ("text_file_" + std::to_string(::getpid()));
};

TEST_F(TextFileTest, ReadsAllBytes) {
  const std::string text("a\0b\r\n", 5);
  std::ofstream(folder_ / "a", std::ios::binary) << text;
  std::ofstream(folder_ / "empty").flush();
  EXPECT_EQ(read_text_file(folder_ / "a"), text);
  EXPECT_EQ(read_text_file(folder_ / "empty"), "");
  test::expect_error(ErrorCode::kInvalidArgument, "cannot open",
                     [&] { static_cast<void>(read_text_file(folder_ / "absent")); });
}

TEST_F(TextFileTest, ReplacesWholeFilesAndLeavesNothingElse) {
  write_and_rename(folder_ / "a", "a long text that was there before");
  write_and_rename(folder_ / "a", std::string_view("new\0", 4));
  EXPECT_EQ(read_text_file(folder_ / "a"), std::string("new\0", 4));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
}

TEST_F(TextFileTest, KeepsTheOldFileWhereTheNewOneCannotBe) {
  fs::create_directories(folder_ / "taken" / "full");
  test::expect_error(ErrorCode::kIo, "cannot write",
                     [&] { write_and_rename(folder_ / "taken", "text"); });
  test::expect_error(ErrorCode::kIo, "cannot write",
                     [&] { write_and_rename(folder_ / "absent" / "a", "text"); });
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
}

}  // namespace
}  // namespace lychee
