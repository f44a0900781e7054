#include "samples/ruler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <regex>
#include <set>

#include "samples/samples_support.h"
#include "support/expect_error.h"

namespace lychee::samples {
namespace {

using Answers = std::set<std::string>;

std::vector<std::smatch> matches(const std::string& text, const std::string& pattern) {
  const std::regex regex(pattern);
  return {std::sregex_iterator(text.begin(), text.end(), regex), std::sregex_iterator()};
}

// What a reader who knows the task but not the answer finds in the prompt.
Answers read_needles(const std::string& prompt) {
  const std::string question = prompt.substr(prompt.rfind("\nWhat "));
  Answers found;
  for (const auto& match :
       matches(prompt, R"(The special magic (?:number|uuid) for (\S+) is ([0-9a-f-]+)\.)")) {
    if (question.find(match[1]) != std::string::npos) {
      found.insert(match[2]);
    }
  }
  return found;
}

Answers read_chain(const std::string& prompt) {
  const std::string value = matches(prompt, R"(have the value (\d+)\?)").back()[1];
  Answers found;
  for (const auto& match : matches(prompt, R"(VAR ([A-Z]+) = (?:VAR )?(\w+)\.)")) {
    if (match[2] == value || found.count(match[2]) > 0) {
      found.insert(match[1]);
    }
  }
  return found;
}

Answers most_frequent(const std::map<std::string, int>& counts, size_t size) {
  std::vector<std::pair<int, std::string>> order;
  order.reserve(counts.size());
  for (const auto& [word, count] : counts) {
    order.emplace_back(-count, word);
  }
  std::sort(order.begin(), order.end());
  EXPECT_GT(order.size(), size);
  EXPECT_LT(order[size - 1].first, order[size].first) << "the answer is not unique";
  Answers found;
  for (size_t i = 0; i < size; ++i) {
    found.insert(order[i].second);
  }
  return found;
}

Answers read_common(const std::string& prompt) {
  const std::string last = prompt.substr(prompt.rfind("numbered list"));
  std::map<std::string, int> counts;
  for (const auto& match : matches(last, R"(\d+\. ([a-z-]+))")) {
    ++counts[match[1]];
  }
  return most_frequent(counts, 10);
}

Answers read_coded(const std::string& prompt) {
  const size_t begin = prompt.find('\n') + 1;
  const std::string text = prompt.substr(begin, prompt.find('\n', begin) - begin);
  std::map<std::string, int> counts;
  for (const auto& match : matches(text, "[a-z]{6}")) {
    ++counts[match[0]];
  }
  return most_frequent(counts, 3);
}

Answers read_documents(const std::string& prompt) {
  std::string name = matches(prompt, R"(Question: .*?(\w+)(?: live\?| lives\?))").back()[1];
  const auto homes = matches(prompt, name + " lives in the town of (\\w+) ");
  EXPECT_EQ(homes.size(), 1U);
  std::string town = homes.at(0)[1];
  if (prompt.find("Question: On which river") == std::string::npos) {
    return {town};
  }
  const auto rivers = matches(prompt, "The town of " + town + " lies on the river (\\w+),");
  EXPECT_EQ(rivers.size(), 1U);
  return {rivers.at(0)[1]};
}

Answers solve(std::string_view task, const std::string& prompt) {
  return task == "vt"             ? read_chain(prompt)
         : task == "cwe"          ? read_common(prompt)
         : task == "fwe"          ? read_coded(prompt)
         : task.starts_with("qa") ? read_documents(prompt)
                                  : read_needles(prompt);
}

class Ruler : public ::testing::Test {
 protected:
  RulerSample make(const RulerTask& task, int64_t length, uint64_t seed) {
    qa_ = synthetic_qa(std::max(task.hops, 1), static_cast<int>(length / 24) + 8, seed);
    return task.make(inputs_, length, seed);
  }

  Book book_ = default_book();
  QaSet qa_;
  RulerInputs inputs_{.encode = encode_words,
                      .wrap =
                          [](std::string_view user, std::string_view prefix) {
                            return "User: " + std::string(user) +
                                   "\nAssistant:" + std::string(prefix);
                          },
                      .book = &book_,
                      .qa = &qa_};
};

TEST_F(Ruler, AReaderSolvesEveryTask) {
  ASSERT_EQ(ruler_tasks().size(), 13U);
  for (const RulerTask& task : ruler_tasks()) {
    for (const int64_t length : {1024, 2048, 4096, 9000}) {
      SCOPED_TRACE(std::string(task.name) + " " + std::to_string(length));
      const RulerSample sample = make(task, length, 3);
      EXPECT_EQ(sample.token_ids, encode_words(sample.prompt));
      const int64_t total = std::ssize(sample.token_ids) + task.generated_tokens;
      EXPECT_LE(total, length);
      EXPECT_GE(total, length * 98 / 100);
      const std::string body = sample.prompt.substr(0, sample.prompt.rfind("\nAssistant:"));
      EXPECT_EQ(solve(task.name, body),
                Answers(sample.references.begin(), sample.references.end()));
    }
  }
}

TEST_F(Ruler, HasThePublishedNumberOfAnswers) {
  const std::map<std::string_view, size_t> numbers{
      {"niah_multivalue", 4}, {"niah_multiquery", 4}, {"vt", 5}, {"cwe", 10}, {"fwe", 3}};
  for (const RulerTask& task : ruler_tasks()) {
    const auto number = numbers.find(task.name);
    EXPECT_EQ(make(task, 2048, 1).references.size(), number == numbers.end() ? 1 : number->second);
  }
}

TEST_F(Ruler, WordsComeAsOftenAsPublished) {
  const RulerTask& task = ruler_tasks()[9];
  ASSERT_EQ(task.name, "cwe");
  for (const int64_t length : {2048, 9000}) {
    const RulerSample sample = make(task, length, 1);
    const std::string list = sample.prompt.substr(sample.prompt.rfind("numbered list"));
    EXPECT_EQ(matches(list, "\\d+\\. " + sample.references[0] + "\\b").size(),
              length < 4096 ? 6U : 30U);
  }
}

TEST_F(Ruler, SeedsGiveFixedSamples) {
  for (const RulerTask& task : ruler_tasks()) {
    const RulerSample sample = make(task, 1500, 7);
    EXPECT_EQ(sample.prompt, make(task, 1500, 7).prompt);
    EXPECT_NE(sample.references, make(task, 1500, 8).references) << task.name;
    test::expect_error(ErrorCode::kInvalidArgument, "the least is",
                       [&] { static_cast<void>(make(task, 60, 7)); });
  }
  // What a change of the generators would silently change: every published figure.
  EXPECT_EQ(make(ruler_tasks()[0], 1500, 7).references[0], "9609346");
  EXPECT_EQ(make(ruler_tasks()[8], 1500, 7).references[0], "LLMRU");
  EXPECT_EQ(make(ruler_tasks()[9], 1500, 7).references[0], "soul");
  EXPECT_EQ(make(ruler_tasks()[10], 1500, 7).references[0], "lwwvkt");
}

}  // namespace
}  // namespace lychee::samples
