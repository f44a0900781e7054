// Small tokenizers of every supported family, as tokenizer.json and as GGUF metadata, against ids
// and decodings made by the PyPI package `tokenizers` (tools/tokenizer_oracle.py).
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/mapped_file.h"
#include "io/gguf/gguf_tokenizer.h"
#include "io/huggingface/tokenizer_json.h"
#include "text/tokenizer.h"

namespace lychee::text {
namespace {

using Ids = std::vector<int32_t>;

struct Fixture {
  std::string family;
  bool gguf;
};

std::string name_of(const Fixture& fixture) {
  return fixture.family + (fixture.gguf ? "_gguf" : "_json");
}

void PrintTo(const Fixture& fixture, std::ostream* out) {
  *out << name_of(fixture);
}

io::TokenizerSpec read_spec(const Fixture& fixture) {
  const std::string folder =
      std::string(LYCHEE_SOURCE_DIR) + "/tests/data/tokenizers/" + fixture.family;
  if (!fixture.gguf) {
    return *io::read_tokenizer(folder);
  }
  const MappedFile file(folder + "/tokenizer.gguf");
  return *io::read_gguf_tokenizer(io::parse_gguf_header(file.bytes(), "tokenizer.gguf").metadata);
}

nlohmann::json read_cases(const std::string& family) {
  std::ifstream file(std::string(LYCHEE_SOURCE_DIR) + "/tests/data/tokenizers/" + family +
                     "/golden.json");
  return nlohmann::json::parse(file)["cases"];
}

class TokenizerFixture : public ::testing::TestWithParam<Fixture> {};

TEST_P(TokenizerFixture, EncodesEveryString) {
  const Tokenizer tokenizer(read_spec(GetParam()));
  const nlohmann::json cases = read_cases(GetParam().family);
  ASSERT_GT(cases.size(), 200U);
  const Ids& prefix = tokenizer.spec().prefix_ids;
  for (const auto& golden : cases) {
    const auto text = golden["text"].get<std::string>();
    const auto expected = golden["ids"].get<Ids>();
    Ids ids = tokenizer.encode(text, false);
    // The oracle puts a second BOS before a text that begins with one; we do not.
    const bool begins_with_prefix = !prefix.empty() && !ids.empty() && ids[0] == prefix[0];
    if (!begins_with_prefix) {
      EXPECT_EQ(tokenizer.encode(text, true), expected) << golden["text"];
    }
    ids.insert(ids.begin(), prefix.begin(), prefix.end());
    EXPECT_EQ(ids, expected) << golden["text"];
  }
}

TEST_P(TokenizerFixture, DecodesEveryString) {
  const Tokenizer tokenizer(read_spec(GetParam()));
  for (const auto& golden : read_cases(GetParam().family)) {
    const auto ids = golden["ids"].get<std::vector<int32_t>>();
    const auto decoded = golden.value("decoded", golden["text"].get<std::string>());
    EXPECT_EQ(tokenizer.decode(ids, false), decoded) << golden["text"];
    EXPECT_EQ(tokenizer.decode(ids, true), golden.value("decoded_skip_special", decoded))
        << golden["text"];
  }
}

// One text of all strings fills the word cache with what the strings alone do not: evictions, and
// words next to one another.
TEST_P(TokenizerFixture, EncodesTheSameFromSeveralThreads) {
  const Tokenizer tokenizer(read_spec(GetParam()));
  std::string text;
  for (const auto& golden : read_cases(GetParam().family)) {
    text += golden["text"].get<std::string>() + '\n';
  }
  const std::vector<int32_t> expected = tokenizer.encode(text, true);
  std::array<std::vector<int32_t>, 3> results;
  std::vector<std::thread> threads;
  for (auto& result : results) {
    threads.emplace_back([&] { result = tokenizer.encode(text, true); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (const auto& result : results) {
    EXPECT_EQ(result, expected);
  }
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerFixture,
                         ::testing::Values(Fixture{"smollm", false}, Fixture{"smollm", true},
                                           Fixture{"qwen2", false}, Fixture{"qwen2", true},
                                           Fixture{"llama3", false}, Fixture{"llama3", true},
                                           Fixture{"llama2", false}, Fixture{"llama2", true},
                                           Fixture{"mistral", false}),
                         [](const auto& param_info) { return name_of(param_info.param); });

}  // namespace
}  // namespace lychee::text
