#include "eval/passkey.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>
#include <string>

#include "lychee/error.h"

namespace lychee::eval {
namespace {

using ::testing::HasSubstr;

// A token per word, digit or punctuation mark, after a leading one.
std::vector<int32_t> encode_words(std::string_view text) {
  std::vector<int32_t> ids{0};
  bool in_word = false;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool letter = std::isalpha(byte) != 0;
    if ((letter && !in_word) || (!letter && std::isspace(byte) == 0)) {
      ids.push_back(1);
    }
    in_word = letter;
  }
  return ids;
}

std::vector<int32_t> encode_bytes(std::string_view text) {
  return {text.begin(), text.end()};
}

int64_t count(const std::string& text, const std::string& part) {
  int64_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++found;
  }
  return found;
}

// What a reader of the prompt would answer.
std::string read_key(const std::string& prompt) {
  const std::string before = "The pass key is ";
  return prompt.substr(prompt.find(before) + before.size(), 5);
}

TEST(Passkey, PromptsHaveTheLengthAndTheKey) {
  for (const int64_t length : {120, 500, 1024, 8192}) {
    for (const double depth : {0.0, 0.3, 1.0}) {
      const Sample sample = make_passkey(encode_words, length, depth, 7);
      const int64_t total = std::ssize(sample.token_ids) + sample.answer_tokens;
      EXPECT_LE(total, length);
      EXPECT_GT(total, length - 7) << "another sentence would fit";
      EXPECT_EQ(sample.answer_tokens, 5);
      EXPECT_EQ(sample.token_ids, encode_words(sample.prompt));
      EXPECT_EQ(sample.answer.size(), 5U);
      EXPECT_EQ(read_key(sample.prompt), sample.answer);
      EXPECT_EQ(count(sample.prompt, sample.answer), 2);
      EXPECT_TRUE(sample.prompt.ends_with("\nWhat is the pass key? The pass key is"));
    }
  }
  EXPECT_EQ(make_passkey(encode_bytes, 4000, 0.5, 7).answer_tokens, 6);  // a space and five digits
}

TEST(Passkey, DepthIsWhereTheKeyStands) {
  for (const double depth : {0.05, 0.5, 0.95}) {
    const Sample sample = make_passkey(encode_bytes, 20000, depth, 3);
    const double at = static_cast<double>(sample.prompt.find("The pass key is")) /
                      static_cast<double>(sample.prompt.size());
    EXPECT_NEAR(at, depth, 0.02);
  }
}

TEST(Passkey, IsTheSameForTheSameSeed) {
  const Sample sample = make_passkey(encode_words, 1024, 0.5, 11);
  EXPECT_EQ(sample.prompt, make_passkey(encode_words, 1024, 0.5, 11).prompt);
  EXPECT_NE(sample.answer, make_passkey(encode_words, 1024, 0.5, 12).answer);
}

TEST(Passkey, RefusesWhatCannotBe) {
  try {
    static_cast<void>(make_passkey(encode_words, 40, 0.5, 1));
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(error.what(), HasSubstr("40 tokens cannot hold the question; the least is "));
  }
  EXPECT_THROW(static_cast<void>(make_passkey(encode_words, 1024, 1.5, 1)), Error);
  EXPECT_THROW(static_cast<void>(make_passkey(encode_words, 1024, -0.1, 1)), Error);
}

TEST(Passkey, TheLeastLengthIsEnough) {
  int64_t length = 40;
  while (length < 200) {
    try {
      const Sample sample = make_passkey(encode_words, length, 0.5, 1);
      EXPECT_EQ(std::ssize(sample.token_ids) + sample.answer_tokens, length);
      return;
    } catch (const Error&) {
      ++length;
    }
  }
  ADD_FAILURE() << "no length was enough";
}

TEST(Passkey, JudgesTheWholeKey) {
  for (const char* text :
       {"47109", " 47109", "47109.", " 4 7 1 0 9", "\n47109 is the pass key", "47109 2"}) {
    EXPECT_TRUE(passkey_is_right(text, "47109")) << text;
  }
  for (const char* text :
       {"", " ", "4710", "47108", "471090", "347109", "is 47109", "4710 ", "4 7 1"}) {
    EXPECT_FALSE(passkey_is_right(text, "47109")) << text;
  }
}

}  // namespace
}  // namespace lychee::eval
