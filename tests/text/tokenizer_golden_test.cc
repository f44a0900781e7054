// The Qwen3 tokenizer against ids and renderings made with Hugging Face's own implementation.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "io/huggingface/tokenizer_json.h"
#include "text/tokenizer.h"

namespace lychee::text {
namespace {

nlohmann::json read_json(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  return nlohmann::json::parse(file);
}

class QwenGolden : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    tokenizer_ = std::make_unique<Tokenizer>(*io::read_tokenizer(folder()));
  }
  static void TearDownTestSuite() { tokenizer_.reset(); }

  static std::string folder() { return std::string(LYCHEE_SOURCE_DIR) + "/tests/data/qwen3"; }

  static std::unique_ptr<Tokenizer> tokenizer_;
};

std::unique_ptr<Tokenizer> QwenGolden::tokenizer_;

TEST_F(QwenGolden, EncodesEveryString) {
  const nlohmann::json golden = read_json(folder() + "/golden.json");
  ASSERT_EQ(golden["cases"].size(), 266U);
  for (const auto& golden_case : golden["cases"]) {
    const auto text = golden_case["text"].get<std::string>();
    EXPECT_EQ(tokenizer_->encode(text, true), golden_case["ids"].get<std::vector<int32_t>>())
        << golden_case["group"] << ": " << golden_case["text"];
  }
}

TEST_F(QwenGolden, DecodesEveryString) {
  const nlohmann::json golden = read_json(folder() + "/golden.json");
  for (const auto& golden_case : golden["cases"]) {
    const auto ids = golden_case["ids"].get<std::vector<int32_t>>();
    const auto decoded = golden_case.value("decoded", golden_case["text"].get<std::string>());
    EXPECT_EQ(tokenizer_->decode(ids, false), decoded) << golden_case["text"];
    EXPECT_EQ(tokenizer_->decode(ids, true), golden_case.value("decoded_skip_special", decoded))
        << golden_case["text"];
  }
}

TEST_F(QwenGolden, EncodesEveryRenderedChat) {
  const nlohmann::json golden = read_json(folder() + "/chat_golden.json");
  int renders = 0;
  for (const auto& chat : golden["chats"]) {
    for (const auto& render : chat["renders"]) {
      EXPECT_EQ(tokenizer_->encode(render["text"].get<std::string>(), true),
                render["ids"].get<std::vector<int32_t>>())
          << chat["name"];
      ++renders;
    }
  }
  EXPECT_EQ(renders, 56);
}

TEST_F(QwenGolden, KnowsItsSpecialTokens) {
  EXPECT_EQ(tokenizer_->vocab_size(), 151669);
  EXPECT_EQ(tokenizer_->token_id("<|im_end|>"), 151645);
  EXPECT_EQ(tokenizer_->spec().eos_id, 151645);
  EXPECT_EQ(tokenizer_->spec().pad_id, 151643);
  EXPECT_EQ(tokenizer_->spec().bos_id, -1);
  EXPECT_TRUE(tokenizer_->is_special(151645));
  EXPECT_FALSE(tokenizer_->is_special(tokenizer_->token_id("<think>")));
  EXPECT_TRUE(tokenizer_->spec().prefix_ids.empty());
}

// A piece as long as the text: quadratic merging would take minutes.
TEST_F(QwenGolden, MergesALongPieceQuickly) {
  std::string text;
  for (int i = 0; i < 300000; ++i) {
    text += static_cast<char>('a' + i * 7 % 26);
  }
  const std::vector<int32_t> ids = tokenizer_->encode(text, true);
  EXPECT_LT(ids.size(), text.size());
  EXPECT_EQ(tokenizer_->decode(ids, false), text);
}

}  // namespace
}  // namespace lychee::text
