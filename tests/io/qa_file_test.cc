#include "io/qa_file.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/model_writer.h"

namespace lychee::io {
namespace {

class QaFile : public testing::Test {
 protected:
  [[nodiscard]] std::filesystem::path file(const std::string& text) const {
    test::write_text(folder_.path() / "qa.jsonl", text);
    return folder_.path() / "qa.jsonl";
  }
  void expect_refused(const std::string& text, const std::string& part) const {
    test::expect_error(ErrorCode::kInvalidArgument, part, [&] { (void)read_qa_file(file(text)); });
  }
  test::TemporaryFolder folder_;
};

TEST_F(QaFile, ReadsLinesAndIgnoresEmptyOnes) {
  const auto records =
      read_qa_file(file("{\"context\":\"a b\",\"question\":\"q\",\"answer\":\"x\",\"more\":1}\n\n"
                        R"({"answer":"y","question":"r","context":"c"})"));
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0].context, "a b");
  EXPECT_EQ(records[0].question, "q");
  EXPECT_EQ(records[1].answer, "y");
}

TEST_F(QaFile, NamesLineAndKey) {
  const std::string good = "{\"context\":\"a\",\"question\":\"q\",\"answer\":\"x\"}\n";
  expect_refused(good + "[1]\n", "line 2: not a JSON object");
  expect_refused(good + "nonsense", "line 2");
  expect_refused(R"({"context":"a","question":"q"})", "answer");
  expect_refused(R"({"context":"a","question":"q","answer":3})", "answer");
  expect_refused(R"({"context":"a","question":"q","answer":""})", "empty");
  test::expect_error(ErrorCode::kInvalidArgument, "none.jsonl",
                     [&] { (void)read_qa_file(folder_.path() / "none.jsonl"); });
}

}  // namespace
}  // namespace lychee::io
