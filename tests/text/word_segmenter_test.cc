#include "text/word_segmenter.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "support/expect_error.h"
#include "support/model_writer.h"
#include "text/python_table.h"
#include "text/tokenizer_utf8.h"

namespace lychee::text {
namespace {

namespace fs = std::filesystem;

std::u32string code_points(std::string_view text) {
  std::u32string points;
  for (; !text.empty(); text.remove_prefix(char_length(text[0]))) {
    points += first_code_point(text);
  }
  return points;
}

// Words of the real jieba, see tools/word_golden.py.
TEST(WordSegmenter, CutsAsJiebaDoes) {
  const WordSegmenter segmenter(default_word_folder());
  std::ifstream stream(LYCHEE_SOURCE_DIR "/tests/data/words/jieba.jsonl");
  int texts = 0;
  for (std::string line; std::getline(stream, line); ++texts) {
    std::u32string text;
    std::vector<std::u32string> words;
    for (const auto& word : nlohmann::json::parse(line)) {
      words.push_back(code_points(word.get<std::string>()));
      text += words.back();
    }
    const auto pieces = segmenter.cut(text);
    EXPECT_EQ(std::vector<std::u32string>(pieces.begin(), pieces.end()), words) << line;
  }
  EXPECT_GE(texts, 450);
}

TEST(WordDictionary, FindsWordsAndPrefixes) {
  const WordDictionary words("d", "ab 3 n\nabc 4\nb 0 n\nab 5 v\r\nabcde 2 n");
  EXPECT_EQ(words.total(), 14) << "both lines of ab";
  EXPECT_EQ(words.count(U"ab"), 5) << "the last one";
  EXPECT_EQ(words.count(U"abcd"), 0);
  EXPECT_EQ(words.count(U"b"), 0);
  std::vector<WordDictionary::Match> matches(9);
  const auto lengths = [&](std::u32string_view text) {
    words.match(text, matches);
    std::vector<size_t> lengths;
    lengths.reserve(matches.size());
    for (const auto& match : matches) {
      lengths.push_back(match.length);
    }
    return lengths;
  };
  EXPECT_EQ(lengths(U"abcdef"), (std::vector<size_t>{2, 3, 5}));
  EXPECT_EQ(lengths(U"abx"), (std::vector<size_t>{2}));
  EXPECT_TRUE(lengths(U"a").empty());
  EXPECT_TRUE(lengths(U"b").empty()) << "never seen";
}

TEST(WordDictionary, NamesBadLines) {
  const auto refused = [](const char* lines, const char* part) {
    test::expect_error(ErrorCode::kInvalidArgument, part,
                       [&] { const WordDictionary words("dict.txt", lines); });
  };
  refused("ab 3 n\nab n\n", "dict.txt, line 2");
  refused("ab 3 n\n\n", "dict.txt, line 2");
  refused("ab -3 n\n", "dict.txt, line 1");
  refused("ab 3x n\n", "dict.txt, line 1");
  refused("ab\n", "dict.txt, line 1");
  refused("", "no words");
}

TEST(PythonTable, ReadsNestedNumbers) {
  std::vector<std::pair<std::u32string, double>> read;
  read_python_table(
      "t.py", "import x\nP={'B': {'\\u4e00': -3.5,\n 'é': 2e+100}, 'S': {}, 'E': 1}\n",
      [&](std::u32string_view keys, double value) { read.emplace_back(keys, value); });
  EXPECT_EQ(read, (std::vector<std::pair<std::u32string, double>>{
                      {U"B\u4e00", -3.5}, {U"Bé", 2e100}, {U"E", 1}}));
}

TEST(PythonTable, NamesWhatItCannotRead) {
  const auto refused = [](const char* source, const char* part) {
    test::expect_error(ErrorCode::kInvalidArgument, part, [&] {
      read_python_table("t.py", source, [](std::u32string_view, double) {});
    });
  };
  refused("P=", "t.py: byte 2 is no dictionary");
  refused("{", "byte 1 is no key");
  refused("{'a'", "byte 4 is no colon");
  refused("{'ab': 1}", "byte 3 is no key of one character");
  refused("{'\\u4e': 1}", "byte 2 is no character");
  refused("{'\xff': 1}", "byte 2 is no character");
  refused("{'a': x}", "byte 6 is no number");
  refused("{'a': 1 'b': 2}", "byte 8 is no comma");
  refused("{'a': {'a': {'a': {'a': {'a': 1}}}}}", "is no number");
}

TEST(WordChain, RefusesTablesOfOthers) {
  const auto refused = [](const char* start, const char* transitions, const char* part) {
    test::expect_error(ErrorCode::kInvalidArgument, part, [&] {
      const WordChain chain({"start.py", start}, {"trans.py", transitions}, {"emit.py", "{}"});
    });
  };
  refused("{'X': 1}", "{}", "start.py: number 0");
  refused("{'B': {'B': 1}}", "{}", "start.py: number 0");
  refused("{'B': 1}", "{'B': {'X': 1}}", "trans.py: a transition");
  refused("{'B': 1}", "{'B': {'E': 1}}", "emit.py: no numbers");
}

TEST(WordSegmenter, NamesThePackageThatIsMissing) {
  const test::TemporaryFolder folder;
  const auto refused = [&](const char* part) {
    test::expect_error(ErrorCode::kInvalidArgument, part,
                       [&] { const WordSegmenter segmenter(folder.path()); });
  };
  refused("dict.txt: Chinese words are cut with jieba's data; install Debian's python3-jieba");
  test::write_text(folder.path() / "dict.txt", "ab 3 n\n");
  refused("prob_start.py: Chinese words");
}

}  // namespace
}  // namespace lychee::text
