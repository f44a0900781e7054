#include "eval/ruler_tasks.h"

#include <gtest/gtest.h>

#include "eval/scorers.h"
#include "support/expect_error.h"

namespace lychee::eval {
namespace {

TEST(RulerTasks, AnswersMatchAsStrings) {
  const std::vector<std::string> two{"Abc", "xyz"};
  EXPECT_EQ(match_all("it is ABC, and xyZ", two), 1);
  EXPECT_EQ(match_all("xyzabc", two), 1);
  EXPECT_EQ(match_all("ab c xyz", two), 0.5);
  EXPECT_EQ(match_all("xy\x01z", two), 0);
  EXPECT_EQ(match_any("xyz", two), 1);
  EXPECT_EQ(match_any("", two), 0);
  EXPECT_EQ(match_all("ÉCOLE", {"école"}), 1);
}

TaskInputs make_inputs() {
  TaskInputs inputs;
  inputs.encode = [](std::string_view text) {
    return std::vector<int32_t>(text.begin(), text.end());
  };
  inputs.wrap = [](std::string_view user, std::string_view prefix) {
    return std::string(user).append(prefix);
  };
  inputs.book = std::make_shared<samples::Book>(samples::default_book());
  return inputs;
}

TEST(RulerTasks, MadeUpFactsAreMarked) {
  TaskInputs inputs = make_inputs();
  TaskList tasks = make_ruler_tasks("ruler", inputs);
  ASSERT_EQ(tasks.size(), 13U);
  EXPECT_EQ(tasks[11]->name(), "qa_1-synthetic");
  inputs.squad = std::make_shared<samples::QaSet>(parse_squad(
      "s.json", R"({"data": [{"paragraphs": [{"context": "The owl sleeps in the oak.", "qas": [
        {"question": "Where does the owl sleep?", "is_impossible": false,
         "answers": [{"text": "oak"}, {"text": "the oak"}]},
        {"question": "Why?", "is_impossible": true, "answers": []}]},
        {"context": "A second text.", "qas": []}]}]})"));
  inputs.hotpotqa = std::make_shared<samples::QaSet>(parse_hotpotqa(
      "h.json", R"([{"question": "Who?", "answer": "Ann", "supporting_facts": [["T", 0]],
        "context": [["T", ["Ann did.", "So."]], ["U", ["Nobody."]]]}])"));
  tasks = make_ruler_tasks("qa_1", inputs);
  ASSERT_EQ(tasks.size(), 1U);
  EXPECT_EQ(tasks[0]->name(), "qa_1");
  const Prompt prompt = tasks[0]->make({.length = 900, .sample = 0, .num_samples = 1, .seed = 1});
  const std::string text(prompt.context_ids.begin(), prompt.context_ids.end());
  EXPECT_NE(text.find("The owl sleeps in the oak."), std::string::npos);
  EXPECT_NE(text.find("A second text."), std::string::npos);
  EXPECT_NE(text.find("Where does the owl sleep?"), std::string::npos);
  ASSERT_EQ(prompt.queries.size(), 1U);
  Metrics metrics;
  EXPECT_EQ(tasks[0]->score("In an OAK.", prompt.queries[0], metrics), 1);
  EXPECT_TRUE(tasks[0]->is_settled("oak", prompt.queries[0]));
  EXPECT_FALSE(tasks[0]->is_settled("o", prompt.queries[0]));
  EXPECT_EQ(inputs.hotpotqa->items[0].documents, (std::vector<std::string>{"T. Ann did. So."}));
  EXPECT_EQ(inputs.hotpotqa->documents.size(), 2U);
  EXPECT_EQ(make_ruler_tasks("qa_2", inputs)[0]->name(), "qa_2");
  EXPECT_TRUE(make_ruler_tasks("qa_3", inputs).empty());
}

TEST(RulerTasks, RefusesOtherFiles) {
  for (const char* text : {"", "[]", "{\"data\": [{}]}", "{\"data\": []}"}) {
    test::expect_error(ErrorCode::kInvalidArgument, "s.json ",
                       [&] { static_cast<void>(parse_squad("s.json", text)); });
  }
  for (const char* text : {"", "[]", R"([{"question": "?"}])", "[3]"}) {
    test::expect_error(ErrorCode::kInvalidArgument, "h.json ",
                       [&] { static_cast<void>(parse_hotpotqa("h.json", text)); });
  }
}

}  // namespace
}  // namespace lychee::eval
