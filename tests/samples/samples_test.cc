#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <set>
#include <sstream>

#include "lychee/error.h"
#include "samples/fit.h"
#include "samples/haystack.h"
#include "samples/needle.h"
#include "samples/passkey.h"
#include "samples/phrase.h"
#include "samples/random.h"
#include "samples/samples_support.h"
#include "support/expect_error.h"

namespace lychee::samples {
namespace {

void expect_refused(const std::string& part, const std::function<void()>& fn) {
  test::expect_error(ErrorCode::kInvalidArgument, part, fn);
}

// The text after the only occurrence of `before` up to `end`.
std::string read_after(const std::string& text, const std::string& before, const std::string& end) {
  const size_t at = text.find(before);
  EXPECT_NE(at, std::string::npos) << before;
  EXPECT_EQ(text.find(before, at + 1), std::string::npos) << before << " twice";
  const size_t from = at + before.size();
  return text.substr(from, text.find(end, from) - from);
}

// Ids of context, question and answer, one after the other, are those of the joined text.
void expect_whole_ids(const Encoder& encode, const Sample& sample) {
  for (const Question& question : sample.questions) {
    std::vector<int32_t> ids = sample.context_ids;
    ids.insert(ids.end(), question.token_ids.begin(), question.token_ids.end());
    EXPECT_EQ(ids, encode(sample.context + question.text));
    ids.insert(ids.end(), question.answer_ids.begin(), question.answer_ids.end());
    EXPECT_EQ(ids, encode(sample.context + question.text + " " + question.answer));
  }
}

TEST(Samples, FitFindsTheLargestCount) {
  for (const double slope : {0.3, 1.0, 7.0, 41.5}) {
    for (const int64_t length : {10, 11, 99, 1000, 100000}) {
      int calls = 0;
      const auto tokens = [&](int64_t count) {
        ++calls;
        return 10 + static_cast<int64_t>(slope * static_cast<double>(count));
      };
      const int64_t count = largest_that_fits(tokens, length, "text");
      EXPECT_LE(tokens(count), length);
      EXPECT_GT(tokens(count + 1), length);
      EXPECT_LE(calls, 12) << slope << " " << length;
    }
  }
  expect_refused("text: 11 tokens cannot hold the question; the least is 12", [] {
    static_cast<void>(largest_that_fits([](int64_t) { return 12; }, 11, "text"));
  });
}

TEST(Samples, WordsAreApart) {
  const std::vector<std::string> words = word_list();
  ASSERT_EQ(words.size(), 1500U);
  for (const std::string& word : words) {
    EXPECT_EQ(std::count_if(
                  words.begin(), words.end(),
                  [&](const std::string& other) { return other.find(word) != std::string::npos; }),
              1)
        << word;
  }
}

TEST(Samples, BooksKnowTheirSentences) {
  const Book book("One  two.\nMr. Elton (who?) \"Three!\" he said. J. K. end");
  EXPECT_EQ(book.num_words(), 11);
  std::vector<bool> ends;
  for (int64_t i = 0; i < book.num_words(); ++i) {
    ends.push_back(book.ends_sentence(i));
  }
  EXPECT_THAT(ends, testing::ElementsAre(false, true, false, false, true, true, false, true, false,
                                         false, false));
  EXPECT_EQ(book.sentence_start(1), 2);
  EXPECT_EQ(book.sentence_start(9), 2) << "around the end";
  EXPECT_EQ(book.excerpt(10, 3), "end One two.");
  EXPECT_EQ(Book("no sentence").sentence_start(1), 0);
  EXPECT_GT(default_book().num_words(), 4000);
  EXPECT_EQ(default_book().excerpt(0, 2), "Persuasion, by");
  expect_refused("no words", [] { const Book empty(" \n"); });
}

TEST(Samples, HaystacksHideBetweenSentences) {
  const Book book("An owl. Cats do eat. Fine.");
  const Haystack haystack(book, 0);
  EXPECT_EQ(haystack.build(6, {{0, "X"}, {0.5, "Y"}, {0.52, "Z"}, {1, "W"}}),
            "X An owl. Y Z Cats do eat. Fine. W");
  EXPECT_EQ(haystack.build(0, {{0.5, "X"}}), "X");
  EXPECT_EQ(Haystack(book, 1).build(4, {}), "Cats do eat. Fine.");
  EXPECT_EQ(Haystack().build(2, {{0.5, "X"}}), "The grass is green. X The sky is blue.");
}

TEST(Samples, PasskeyPromptsHaveTheLengthAndTheKey) {
  for (const int64_t length : {120, 500, 1024, 8192}) {
    for (const double depth : {0.0, 0.3, 1.0}) {
      const Sample sample = make_passkey(encode_words, length, depth, 7);
      EXPECT_LE(sample.num_tokens(), length);
      EXPECT_GT(sample.num_tokens(), length - 7) << "another sentence would fit";
      expect_whole_ids(encode_words, sample);
      ASSERT_EQ(sample.questions.size(), 1U);
      const Question& question = sample.questions[0];
      EXPECT_EQ(question.answer_ids.size(), 5U);
      EXPECT_EQ(question.answer.size(), 5U);
      EXPECT_EQ(read_after(sample.context, "The pass key is ", "."), question.answer);
      EXPECT_EQ(question.text, "\nWhat is the pass key? The pass key is");
    }
  }
  // A space and five digits.
  EXPECT_EQ(make_passkey(encode_bytes, 4000, 0.5, 7).questions[0].answer_ids.size(), 6U);
}

TEST(Samples, DepthIsWhereTheKeyStands) {
  const Book book = default_book();
  for (const double depth : {0.05, 0.5, 0.95}) {
    for (const Sample& sample : {make_passkey(encode_bytes, 20000, depth, 3),
                                 make_needle(encode_bytes, &book, 20000, depth, 3)}) {
      const double at = static_cast<double>(sample.context.find(sample.questions[0].answer)) /
                        static_cast<double>(sample.context.size());
      EXPECT_NEAR(at, depth, 0.02);
      EXPECT_EQ(sample.questions[0].depth, depth);
    }
  }
}

TEST(Samples, TheLeastLengthIsEnough) {
  int64_t length = 40;
  while (length < 200) {
    try {
      EXPECT_EQ(make_passkey(encode_words, length, 0.5, 1).num_tokens(), length);
      return;
    } catch (const Error&) {
      ++length;
    }
  }
  ADD_FAILURE() << "no length was enough";
}

TEST(Samples, NeedlesAreNumbersOfTheirKey) {
  const Book book = default_book();
  for (const Book* haystack : {static_cast<const Book*>(nullptr), &book}) {
    for (const int64_t length : {200, 1024, 9000}) {
      const Sample sample = make_needle(encode_words, haystack, length, 0.4, 5);
      EXPECT_LE(sample.num_tokens(), length);
      EXPECT_GE(sample.num_tokens(), length * 96 / 100);
      expect_whole_ids(encode_words, sample);
      const Question& question = sample.questions.at(0);
      EXPECT_EQ(question.answer.size(), 7U);
      const size_t asked = question.text.rfind("The special magic number for ");
      EXPECT_EQ(read_after(sample.context, question.text.substr(asked) + " ", "."),
                question.answer);
    }
  }
}

TEST(Samples, PhrasesAreAllAsked) {
  const Book book = default_book();
  for (const int64_t length : {700, 2048, 9000}) {
    const Sample sample = make_phrase(encode_words, book, length, 5);
    EXPECT_LE(sample.num_tokens(), length);
    EXPECT_GE(sample.num_tokens(), length - 6);
    expect_whole_ids(encode_words, sample);
    ASSERT_EQ(sample.questions.size(), 10U);
    std::set<std::string> answers;
    double depth = 0.05;
    for (const Question& question : sample.questions) {
      EXPECT_EQ(
          read_after(sample.context, question.text.substr(question.text.find("? ") + 2) + " ", "."),
          question.answer);
      std::istringstream stream(question.answer);
      const std::set<std::string> words{std::istream_iterator<std::string>(stream), {}};
      EXPECT_EQ(words.size(), 32U) << "all different";
      EXPECT_GE(question.depth, depth);
      depth = question.depth;
      answers.insert(question.answer);
    }
    EXPECT_LE(depth, 0.95);
    EXPECT_EQ(answers.size(), 10U);
  }
  EXPECT_EQ(make_phrase(encode_words, book, 400, 5, {.phrases = 3, .words = 8}).questions.size(),
            3U);
}

TEST(Samples, AreTheSameForTheSameSeed) {
  const Book book = default_book();
  const auto make = [&](uint64_t seed) {
    return std::vector<Sample>{make_passkey(encode_words, 1024, 0.5, seed),
                               make_needle(encode_words, &book, 1024, 0.5, seed),
                               make_phrase(encode_words, book, 1024, seed)};
  };
  const auto first = make(11);
  const auto again = make(11);
  const auto other = make(12);
  for (size_t i = 0; i < first.size(); ++i) {
    EXPECT_EQ(first[i].context, again[i].context);
    EXPECT_NE(first[i].questions[0].answer, other[i].questions[0].answer);
  }
}

// What a change of the generators would silently change: every published figure.
TEST(Samples, FixedSeedsGiveFixedSamples) {
  EXPECT_EQ(make_passkey(encode_words, 300, 0.5, 42).questions[0].answer, "75413");
  EXPECT_EQ(make_needle(encode_words, nullptr, 300, 0.5, 42).questions[0].answer, "7275413");
  const Book book = default_book();
  const Sample phrase = make_phrase(encode_words, book, 300, 42, {.phrases = 1, .words = 3});
  EXPECT_EQ(phrase.questions[0].answer, "struck chance prudence");
  EXPECT_NE(phrase.context.find("\n\nBut the usual fate of Anne attended"), std::string::npos);
}

TEST(Samples, RefuseWhatCannotBe) {
  const Book book = default_book();
  const auto refused = [](const auto& make, const char* part) {
    expect_refused(part, [&] { static_cast<void>(make()); });
  };
  refused([] { return make_passkey(encode_words, 40, 0.5, 1); },
          "40 tokens cannot hold the question; the least is ");
  refused([] { return make_passkey(encode_words, 1024, 1.5, 1); }, "passkey: depth 1.5");
  refused([] { return make_passkey(encode_words, 1024, -0.1, 1); }, "depth -0.1");
  refused([&] { return make_needle(encode_words, &book, 40, 0.5, 1); }, "needle: 40 tokens");
  refused([&] { return make_needle(encode_words, &book, 400, 2, 1); }, "needle: depth 2");
  refused([&] { return make_phrase(encode_words, book, 400, 1); }, "phrase: 400 tokens");
  refused([&] { return make_phrase(encode_words, book, 400, 1, {.phrases = 0}); }, "0 phrases");
  refused([&] { return make_phrase(encode_words, book, 400, 1, {.phrases = 21}); }, "21 phrases");
  refused([&] { return make_phrase(encode_words, book, 400, 1, {.words = 0}); }, "0 words");
}

}  // namespace
}  // namespace lychee::samples
