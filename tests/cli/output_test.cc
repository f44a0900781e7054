#include "cli/output.h"

#include <gtest/gtest.h>

namespace lychee::cli {
namespace {

TEST(Printable, KeepsTextAndEscapesControls) {
  EXPECT_EQ(printable("model «日本» 🍒"), "model «日本» 🍒");
  EXPECT_EQ(printable("a\tb\r\nc\x1b[0m\x7f"), "a\\x09b\\x0d\\x0ac\\x1b[0m\\x7f");
  EXPECT_EQ(printable("\xc2\x9b"
                      "2J"),
            "\\xc2\\x9b2J");  // the one-character escape sequence
  EXPECT_EQ(printable("\xff"
                      "a\xc3"),
            "\\xffa\\xc3");
  EXPECT_EQ(printable("\xe6\x97"), "\\xe6\\x97");
  EXPECT_EQ(printable("\x80"), "\\x80");
  EXPECT_EQ(printable(std::string_view("\0", 1)), "\\x00");
  EXPECT_EQ(printable(""), "");
}

TEST(ExitCode, FollowsTheContract) {
  EXPECT_EQ(exit_code(ErrorCode::kInvalidArgument), 2);
  EXPECT_EQ(exit_code(ErrorCode::kUnsupported), 2);
  EXPECT_EQ(exit_code(ErrorCode::kOutOfMemory), 1);
  EXPECT_EQ(exit_code(ErrorCode::kIo), 1);
  EXPECT_EQ(exit_code(ErrorCode::kCuda), 1);
  EXPECT_EQ(exit_code(ErrorCode::kInternal), 1);
}

TEST(FormatBytes, PicksTheUnit) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(1500), "1.5 kB");
  EXPECT_EQ(format_bytes(98.4e6), "98.4 MB");
}

}  // namespace
}  // namespace lychee::cli
