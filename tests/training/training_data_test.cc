#include "training/training_data.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <sstream>
#include <string>

#include "support/expect_error.h"

namespace lychee::training {
namespace {

// A token per word, numbered by first occurrence.
class Words {
 public:
  std::vector<int32_t> encode(std::string_view text) {
    std::vector<int32_t> ids;
    std::istringstream stream{std::string(text)};
    for (std::string word; stream >> word;) {
      ids.push_back(ids_.emplace(word, static_cast<int32_t>(ids_.size())).first->second);
    }
    return ids;
  }
  [[nodiscard]] std::string word(int32_t id) const {
    for (const auto& [word, known] : ids_) {
      if (known == id) {
        return word;
      }
    }
    return "";
  }

 private:
  std::map<std::string, int32_t> ids_;
};

samples::Book book(int words) {
  std::string text;
  for (int i = 0; i < words; ++i) {
    text += "w" + std::to_string(i) + (i % 10 == 9 ? ". " : " ");
  }
  return samples::Book(text);
}

DataOptions options(const std::string& mixture) {
  return {.mixture = parse_mixture(mixture),
          .context_min = 300,
          .context_max = 500,
          .text_rows = 20,
          .phrases = 2,
          .phrase_words = 3,
          .seed = 5};
}

struct Data {
  Words words;
  TrainingData data;
  explicit Data(const DataOptions& options, int book_words = 2000, std::vector<QaItem> qa = {})
      : data(
            options, [this](std::string_view text) { return words.encode(text); },
            book_words > 0 ? std::vector<samples::Book>{book(book_words)}
                           : std::vector<samples::Book>{},
            std::move(qa)) {}
};

TEST(TrainingData, MixturesGoBothWays) {
  EXPECT_EQ(mixture_text(parse_mixture("passkey:0.5,needle,text:2")),
            "passkey:0.5,needle:1,text:2");
  for (const char* bad : {"", "books", "text:", "text:0", "text:-1", "text:x", "text:nan"}) {
    test::expect_error(ErrorCode::kInvalidArgument, "", [&] { (void)parse_mixture(bad); });
  }
}

TEST(TrainingData, SameIndexSameSampleAndLengthsWithinBounds) {
  Data one(options("passkey,needle,text"));
  Data two(options("passkey,needle,text"));
  std::map<DataTask, int> seen;
  for (int64_t i = 0; i < 30; ++i) {
    const TrainingSample sample = one.data.make(i);
    EXPECT_EQ(sample.target.size(), two.data.make(i).target.size());
    EXPECT_EQ(sample.answers.size(), sample.target.size());
    EXPECT_GE(std::ranges::count(sample.answers, 1), 1);
    EXPECT_LE(sample.context.size(), 500U);
    EXPECT_GE(sample.context.size(), 200U);
    EXPECT_LE(static_cast<int64_t>(sample.target.size()), one.data.max_target());
    ++seen[sample.task];
  }
  EXPECT_EQ(seen.size(), 3U);
}

TEST(TrainingData, AnswersAreWhatTheRowsPredict) {
  Data data(options("passkey"));
  const TrainingSample sample = data.data.make(0);
  // Two questions with three words each; the last word is predicted but not fed.
  EXPECT_EQ(std::ranges::count(sample.answers, 1), 6);
  const auto first = std::ranges::find(sample.answers, 1) - sample.answers.begin();
  EXPECT_EQ(data.words.word(sample.target[static_cast<size_t>(first)]), "is:");
  EXPECT_EQ(sample.answers.back(), 1);
}

TEST(TrainingData, TextGoesOnWhereItsContextEnds) {
  Data data(options("text"));
  const TrainingSample sample = data.data.make(3);
  ASSERT_EQ(sample.target.size(), 20U);
  EXPECT_EQ(std::ranges::count(sample.answers, 1), 20);
  EXPECT_EQ(sample.target.front(), sample.context.back() + 1);
}

TEST(TrainingData, QaUsesItsItems) {
  Data data(options("qa"), 0, {{"some context", "what is it", "an answer"}});
  const TrainingSample sample = data.data.make(0);
  EXPECT_EQ(sample.context.size(), 2U);
  EXPECT_EQ(sample.target.size(), 4U);
  EXPECT_EQ(sample.answers, (std::vector<uint8_t>{0, 0, 1, 1}));
}

TEST(TrainingData, BadInputIsNamed) {
  test::expect_error(ErrorCode::kInvalidArgument, "--text-file",
                     [] { Data data(options("text"), 0); });
  test::expect_error(ErrorCode::kInvalidArgument, "too short",
                     [] { Data data(options("text"), 400); });
  test::expect_error(ErrorCode::kInvalidArgument, "--qa-file", [] { Data data(options("qa"), 0); });
  DataOptions swapped = options("text");
  swapped.context_min = 600;
  test::expect_error(ErrorCode::kInvalidArgument, "600", [&] { Data data(swapped); });
  std::string context;
  for (int i = 0; i < 501; ++i) {
    context += "w ";
  }
  test::expect_error(ErrorCode::kInvalidArgument, "500", [&] {
    Data data(options("qa"), 0, {{context, "q", "a"}});
  });
}

}  // namespace
}  // namespace lychee::training
