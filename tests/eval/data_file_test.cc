#include "eval/data_file.h"

#include <gtest/gtest.h>

#include "base/check.h"
#include "support/expect_error.h"

namespace lychee::eval {
namespace {

TEST(DataFile, NamesOrCountsBadLines) {
  const char* text = "{\"a\": 1}\n\n[2]\r\n{\"a\": \"x\"}\n{\"b\"\n{\"a\": 3}";
  BadLines strict;
  test::expect_error(ErrorCode::kInvalidArgument, "some.jsonl, line 3: no JSON object",
                     [&] { static_cast<void>(parse_jsonl("some.jsonl", text, strict)); });
  test::expect_error(ErrorCode::kInvalidArgument, "some.jsonl, line 1: ", [&] {
    static_cast<void>(parse_jsonl("some.jsonl", "{\"b\"", strict));
  });
  BadLines bad{.skip = true};
  const DataFile file = parse_jsonl("some.jsonl", text, bad);
  EXPECT_EQ(bad.count, 2);
  EXPECT_EQ(bad.first, "some.jsonl, line 3: no JSON object");
  ASSERT_EQ(file.lines.size(), 3U);
  EXPECT_EQ(file.lines[2].number, 6);

  int sum = 0;
  const auto add = [&](const nlohmann::json& line) { sum += line.at("a").get<int>(); };
  for_each_line(file, bad, add);
  EXPECT_EQ(bad.count, 3);
  EXPECT_EQ(sum, 4);
  test::expect_error(ErrorCode::kInvalidArgument, "some.jsonl, line 4: type must be number",
                     [&] { for_each_line(file, strict, add); });
  test::expect_error(ErrorCode::kInvalidArgument, "no file /nowhere",
                     [&] { static_cast<void>(read_jsonl("/nowhere", bad)); });
}

}  // namespace
}  // namespace lychee::eval
