#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>

#include "eval/longbench_metrics.h"
#include "eval/longbench_task.h"
#include "support/expect_error.h"

namespace lychee::eval {
namespace {

using Json = nlohmann::json;

double score_of(const Json& json, const text::WordSegmenter& segmenter) {
  const std::string metric = json["metric"];
  const std::string text = json["text"];
  const std::string reference = json["reference"];
  return metric == "qa_f1"        ? qa_f1(text, reference)
         : metric == "rouge_l"    ? rouge_l(text, reference)
         : metric == "qa_f1_zh"   ? qa_f1_chinese(text, reference, segmenter)
         : metric == "rouge_l_zh" ? rouge_l_chinese(text, reference, segmenter)
         : metric == "classification"
             ? classification(text, reference, json["classes"].get<std::vector<std::string>>())
         : metric == "retrieval"    ? retrieval(text, reference, "Paragraph ")
         : metric == "retrieval_zh" ? retrieval(text, reference, "段落")
         : metric == "count"        ? count_match(text, reference)
                                    : code_similarity(text, reference);
}

// Scores of LongBench's own functions, see tools/longbench_golden.py.
TEST(LongbenchMetrics, EqualThePublishedOnes) {
  const text::WordSegmenter segmenter(text::default_word_folder());
  std::ifstream stream(LYCHEE_SOURCE_DIR "/tests/data/eval/longbench_metrics.jsonl");
  std::map<std::string, int> cases;
  std::map<std::string, int> between;
  for (std::string line; std::getline(stream, line);) {
    const Json json = Json::parse(line);
    const std::string metric = json["metric"];
    const double score = score_of(json, segmenter);
    EXPECT_NEAR(score, json["score"].get<double>(), 1e-12) << line;
    ++cases[metric];
    between[metric] += score > 0 && score < 1 ? 1 : 0;
  }
  ASSERT_EQ(cases.size(), 9U);
  for (const auto& [metric, count] : cases) {
    EXPECT_GE(count, 200) << metric;
    EXPECT_GE(between[metric], 20) << metric;
  }
}

class LongbenchTaskTest : public ::testing::Test {
 protected:
  LongbenchTaskTest() {
    inputs_.encode = [](std::string_view text) {
      return std::vector<int32_t>(text.begin(), text.end());
    };
    inputs_.decode = [](std::span<const int32_t> ids) {
      return std::string(ids.begin(), ids.end());
    };
    inputs_.wrap = [](std::string_view user, std::string_view prefix) {
      return "<user>" + std::string(user) + "<model>" + std::string(prefix);
    };
    inputs_.bad = &bad_;
  }
  TaskList make(const std::string& text) {
    inputs_.data = {parse_jsonl("data.jsonl", text, bad_)};
    return make_longbench_tasks(inputs_);
  }
  static std::string text_of(const Prompt& prompt) {
    return {prompt.context_ids.begin(), prompt.context_ids.end()};
  }

  BadLines bad_;
  TaskInputs inputs_;
};

const std::string kTrec =
    R"({"dataset": "trec", "context": "Q: who\nType: Person", "input": "Q: where\nType:",)"
    R"( "answers": ["City"], "all_classes": ["Person", "City"], "length": 9, "language": "en"})";
const std::string kHotpot =
    R"({"dataset": "hotpotqa", "context": "A {input} context.", "input": "Which?",)"
    R"( "answers": ["red", "the blue one"], "all_classes": null})";

TEST_F(LongbenchTaskTest, AsksAndScoresByDataset) {
  const TaskList tasks = make(kHotpot + "\n" + kTrec + "\n" + kHotpot);
  ASSERT_EQ(tasks.size(), 2U);
  const Task& hotpot = *tasks[tasks[0]->name() == "hotpotqa" ? 0 : 1];
  const Task& trec = *tasks[tasks[0]->name() == "hotpotqa" ? 1 : 0];
  EXPECT_EQ(hotpot.num_samples(-1), 2);
  EXPECT_EQ(trec.num_samples(5), 1);
  const Prompt asked = hotpot.make({.length = 1000});
  EXPECT_TRUE(text_of(asked).starts_with("<user>Read the passages"));
  EXPECT_TRUE(text_of(asked).ends_with("\n\nQuestion: Which?\nShort answer:<model>"));
  EXPECT_NE(text_of(asked).find("A {input} context."), std::string::npos);
  EXPECT_EQ(asked.queries[0].max_tokens, 32);
  Metrics metrics;
  EXPECT_EQ(hotpot.score("Blue one!", asked.queries[0], metrics), 1) << "the best reference";
  const Prompt shown = trec.make({.length = 1000});
  EXPECT_TRUE(text_of(shown).ends_with("Q: where\nType:")) << "no chat template";
  EXPECT_EQ(trec.score("\n City\nPerson", shown.queries[0], metrics), 1) << "the first line alone";
  EXPECT_EQ(trec.score("City Person", shown.queries[0], metrics), 0.5);
}

TEST_F(LongbenchTaskTest, ANewlineEndsSamsumButIsNotItsFirstToken) {
  Json line = Json::parse(kTrec);
  line["dataset"] = "samsum";
  const std::string lines = line.dump() + "\n" + kTrec;
  const auto query_of = [&](const std::string& name) {
    for (const auto& task : make(lines)) {
      if (task->name() == name) {
        return task->make({.length = 1000}).queries[0];
      }
    }
    return Query{};
  };
  EXPECT_EQ(query_of("samsum").end_ids, (std::vector<int32_t>{'\n'}));
  EXPECT_EQ(query_of("samsum").min_tokens, 1);
  EXPECT_TRUE(query_of("trec").end_ids.empty());
  EXPECT_EQ(query_of("trec").min_tokens, 0);
  inputs_.encode = [](std::string_view text) {
    std::vector<int32_t> ids{1};  // a leading token, and no newlines
    std::copy_if(text.begin(), text.end(), std::back_inserter(ids),
                 [](char c) { return c != '\n'; });
    return ids;
  };
  EXPECT_TRUE(query_of("samsum").end_ids.empty());
}

TEST_F(LongbenchTaskTest, CountsChineseWords) {
  const std::string lines =
      R"({"dataset": "vcsum", "context": "会议开始。", "input": "", "answers": ["研究预算和人事"]})"
      "\n"
      R"({"dataset": "multifieldqa_zh", "context": "鱼。", "input": "谁？", "answers": ["苍鹭！"]})";
  const TaskList tasks = make(lines);
  ASSERT_EQ(tasks.size(), 2U);
  const Task& minutes = *tasks[tasks[0]->name() == "vcsum" ? 0 : 1];
  const Task& questions = *tasks[tasks[0]->name() == "vcsum" ? 1 : 0];
  Metrics metrics;
  const Prompt asked = questions.make({.length = 1000});
  EXPECT_TRUE(text_of(asked).ends_with("鱼。\n\n问题：谁？\n答案：<model>"));
  EXPECT_EQ(questions.score("一只苍鹭。", asked.queries[0], metrics), 2.0 / 3);
  const Prompt summed = minutes.make({.length = 1000});
  EXPECT_EQ(summed.queries[0].max_tokens, 512);
  EXPECT_NEAR(minutes.score("讨论预算和人事", summed.queries[0], metrics), 0.75, 1e-8);
  bad_.skip = true;  // does not make the package dispensable
  inputs_.words = "/nowhere";
  test::expect_error(ErrorCode::kInvalidArgument, "/nowhere/dict.txt",
                     [&] { static_cast<void>(make(lines)); });
  EXPECT_EQ(make(kTrec).size(), 1U) << "no Chinese words to count";
}

TEST_F(LongbenchTaskTest, CutsTheMiddle) {
  Json line = Json::parse(kHotpot);
  line["context"] = std::string(900, 'a') + std::string(900, 'b');
  const TaskList tasks = make(line.dump());
  const std::string text = text_of(tasks[0]->make({.length = 432}));
  EXPECT_LE(text.size(), 400U);
  EXPECT_GE(text.size(), 396U);
  EXPECT_TRUE(text.starts_with("<user>Read"));
  EXPECT_TRUE(text.ends_with("Short answer:<model>"));
  EXPECT_NE(text.find("ab"), std::string::npos);
  test::expect_error(ErrorCode::kInvalidArgument, "cannot hold",
                     [&] { static_cast<void>(tasks[0]->make({.length = 40})); });
}

TEST_F(LongbenchTaskTest, NamesOrSkipsBadLines) {
  const auto refused = [&](const std::string& text, const char* part) {
    test::expect_error(ErrorCode::kInvalidArgument, part, [&] { static_cast<void>(make(text)); });
  };
  refused(kTrec + "\n{\"dataset\": \"trec\"}", "data.jsonl, line 2: ");
  refused(R"({"dataset": "squad", "context": "", "input": "", "answers": ["a"]})", "'squad' is no");
  refused(R"({"dataset": "qasper", "context": "", "input": "", "answers": []})", "no answers");
  refused(R"({"dataset": "passage_retrieval_en", "context": "", "input": "", "answers": ["3"]})",
          "names no Paragraph");
  bad_.skip = true;
  EXPECT_EQ(make("{\n{\"dataset\": \"squad\"}\n" + kTrec).size(), 1U);
  EXPECT_EQ(bad_.count, 2);
  inputs_.data.clear();
  test::expect_error(ErrorCode::kInvalidArgument, "needs --data",
                     [&] { static_cast<void>(make_longbench_tasks(inputs_)); });
}

}  // namespace
}  // namespace lychee::eval
