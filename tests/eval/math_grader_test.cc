#include "eval/math_grader.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "eval/math_task.h"
#include "support/expect_error.h"

namespace lychee::eval {
namespace {

// What math-verify says of each pair, see tools/math_golden.py.
TEST(MathGrader, AgreesWithMathVerify) {
  std::ifstream stream(LYCHEE_SOURCE_DIR "/tests/data/eval/math_answers.jsonl");
  int cases = 0;
  for (std::string line; std::getline(stream, line); ++cases) {
    const auto json = nlohmann::json::parse(line);
    EXPECT_EQ(same_answer(json["gold"].get<std::string>(), json["answer"].get<std::string>()),
              json["same"].get<bool>())
        << line;
  }
  EXPECT_GE(cases, 200);
}

TEST(MathGrader, FindsTheAnswer) {
  EXPECT_EQ(extract_answer("So \\boxed{1}, no: \\boxed{\\frac{1}{2}}.", false), "\\frac{1}{2}");
  EXPECT_EQ(extract_answer("\\boxed{3}\nSo the final answer is $4$.\nDone", false), "$4$");
  EXPECT_EQ(extract_answer("So the final answer is \\boxed{x^{2}}.", false), "x^{2}");
  EXPECT_EQ(extract_answer("It is 12, then 073.", true), "073");
  EXPECT_EQ(extract_answer("It is 12.", false), "");
  EXPECT_EQ(extract_answer("", true), "");
  EXPECT_EQ(extract_answer("\\boxed{1", true), "1");
}

TEST(MathGrader, TakesATolerance) {
  EXPECT_FALSE(same_answer("3.14", "3.1416"));
  EXPECT_TRUE(same_answer("3.14", "3.1416", 0.01));
  EXPECT_FALSE(same_answer("3.14", "3.16", 0.01));
}

TEST(MathGrader, RefusesWhatIsNoExpression) {
  for (const char* text : {"", "?", "\\foo", "((((", "1+", "\\frac{1}", "}", "\\sqrt", "1/0x("}) {
    EXPECT_FALSE(same_answer("1", text)) << text;
    EXPECT_FALSE(same_answer(text, "1")) << text;
  }
  EXPECT_FALSE(same_answer("1", std::string(100000, '(')));
}

TEST(MathTask, AsksEveryAttempt) {
  BadLines bad;
  TaskInputs inputs;
  inputs.encode = [](std::string_view text) {
    return std::vector<int32_t>(text.begin(), text.end());
  };
  inputs.wrap = [](std::string_view user, std::string_view prefix) {
    return std::string(user).append(prefix);
  };
  inputs.bad = &bad;
  inputs.attempts = 3;
  const std::string text = R"({"problem": "1+1?", "answer": "002"}
    {"question": "2+1?", "answer": 3}
    {"Problem": "2+2?", "Answer": 4}
    {"question": "Roots?", "final_answer": ["1", "2"], "error": "1e-3"})";
  inputs.data = {parse_jsonl("p.jsonl", text, bad)};
  const TaskList tasks = make_math_tasks(inputs);
  ASSERT_EQ(tasks.size(), 2U);
  EXPECT_EQ(tasks[0]->name(), "aime");
  EXPECT_EQ(tasks[0]->num_samples(-1), 3);
  EXPECT_EQ(tasks[1]->name(), "olympiadbench");
  const Prompt prompt = tasks[0]->make({.length = 300});
  ASSERT_EQ(prompt.queries.size(), 3U);
  EXPECT_NE(prompt.queries[0].seed, prompt.queries[1].seed);
  EXPECT_EQ(prompt.queries[0].max_tokens, 300 - std::ssize(prompt.context_ids));
  Metrics metrics;
  EXPECT_EQ(tasks[0]->score("thus \\boxed{2}", prompt.queries[0], metrics), 1);
  EXPECT_EQ(tasks[0]->score("it is 3", prompt.queries[0], metrics), 0);
  EXPECT_EQ(tasks[0]->score("", prompt.queries[0], metrics), 0);
  const Prompt roots = tasks[1]->make({.length = 300});
  EXPECT_EQ(tasks[1]->score("\\boxed{2, 1.0005}", roots.queries[0], metrics), 1);
  EXPECT_EQ(tasks[1]->score("\\boxed{2, 1.002}", roots.queries[0], metrics), 0);
  for (const char* line : {R"({"answer": 1})", R"({"problem": "", "answer": "x"})",
                           R"({"question": "", "final_answer": []})", R"({"problem": 3})"}) {
    inputs.data = {parse_jsonl("p.jsonl", line, bad)};
    test::expect_error(ErrorCode::kInvalidArgument,
                       "p.jsonl, line 1: ", [&] { static_cast<void>(make_math_tasks(inputs)); });
  }
  inputs.data = {parse_jsonl("p.jsonl", R"({"prompt": "1+1?", "answer": "2"})", bad)};
  test::expect_error(ErrorCode::kInvalidArgument, "has no field problem, Problem, question",
                     [&] { static_cast<void>(make_math_tasks(inputs)); });
  bad.skip = true;
  test::expect_error(ErrorCode::kInvalidArgument, "math: no line of --data",
                     [&] { static_cast<void>(make_math_tasks(inputs)); });
  inputs.data.clear();
  test::expect_error(ErrorCode::kInvalidArgument, "needs --data",
                     [&] { static_cast<void>(make_math_tasks(inputs)); });
}

}  // namespace
}  // namespace lychee::eval
