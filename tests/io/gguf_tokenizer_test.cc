#include "io/gguf/gguf_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lychee/error.h"

namespace lychee::io {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Entries = std::map<std::string, GgufValue>;
using Strings = std::vector<std::string>;
using Integers = std::vector<int64_t>;
using Floats = std::vector<float>;

GgufMetadata metadata_of(const Entries& entries) {
  GgufMetadata metadata("m.gguf");
  for (const auto& [key, value] : entries) {
    EXPECT_TRUE(metadata.insert("tokenizer.ggml." + key, value));
  }
  return metadata;
}

Entries byte_level_entries() {
  return {{"model", std::string("gpt2")},
          {"pre", std::string("smollm")},
          {"tokens", Strings{"a", "b", "ab", "<s>", "<t>", "[PAD5]", "[PAD6]"}},
          {"token_type", Integers{1, 1, 1, 3, 4, 5, 5}},
          {"merges", Strings{"a b"}},
          {"bos_token_id", int64_t{3}},
          {"eos_token_id", int64_t{3}}};
}

Entries sentencepiece_entries() {
  return {{"model", std::string("llama")},
          {"tokens", Strings{"<unk>", "<s>", "</s>", "<0x00>", "a"}},
          {"token_type", Integers{2, 3, 3, 6, 1}},
          {"scores", Floats{0, 0, 0, 0, -1}},
          {"bos_token_id", int64_t{1}},
          {"eos_token_id", int64_t{2}}};
}

Entries with(Entries entries, const std::string& key, GgufValue value) {
  entries[key] = std::move(value);
  return entries;
}

Entries without(Entries entries, const std::string& key) {
  entries.erase(key);
  return entries;
}

void expect_refused(const Entries& entries, ErrorCode code, const std::string& message) {
  try {
    (void)read_gguf_tokenizer(metadata_of(entries));
    ADD_FAILURE() << "no error; expected " << message;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(message));
  }
}

TEST(GgufTokenizer, NoneIsNoError) {
  EXPECT_FALSE(read_gguf_tokenizer(metadata_of({})).has_value());
  EXPECT_FALSE(read_gguf_tokenizer(metadata_of({{"model", std::string("no_vocab")}})).has_value());
}

TEST(GgufTokenizer, ReadsByteLevelBpe) {
  const TokenizerSpec spec = *read_gguf_tokenizer(metadata_of(byte_level_entries()));
  EXPECT_EQ(spec.kind, TokenizerKind::kByteLevelBpe);
  EXPECT_EQ(spec.tokens.size(), 5U);  // unused tokens at the end are left out
  ASSERT_EQ(spec.added_tokens.size(), 2U);
  EXPECT_TRUE(spec.added_tokens[0].special);
  EXPECT_FALSE(spec.added_tokens[1].special);
  ASSERT_EQ(spec.pre_tokenizer.size(), 2U);
  EXPECT_EQ(spec.pre_tokenizer[0].kind, PreTokenizerStep::Kind::kDigits);
  EXPECT_TRUE(spec.pre_tokenizer[1].use_regex);
  EXPECT_TRUE(spec.prefix_ids.empty());
  EXPECT_EQ(spec.eos_token, "<s>");
}

TEST(GgufTokenizer, TheFileDecidesAboutLeadingTokens) {
  const auto prefix = [](const Entries& entries) {
    return read_gguf_tokenizer(metadata_of(entries))->prefix_ids;
  };
  const Entries llama3 = with(byte_level_entries(), "pre", std::string("llama-bpe"));
  EXPECT_THAT(prefix(llama3), ElementsAre(3));
  EXPECT_THAT(prefix(with(llama3, "add_bos_token", false)), ElementsAre());
  EXPECT_THAT(prefix(with(byte_level_entries(), "add_bos_token", true)), ElementsAre(3));
  EXPECT_THAT(prefix(sentencepiece_entries()), ElementsAre(1));
  const auto spec =
      read_gguf_tokenizer(metadata_of(with(sentencepiece_entries(), "add_eos_token", true)));
  EXPECT_THAT(spec->suffix_ids, ElementsAre(2));
}

TEST(GgufTokenizer, EveryKnownPreTokenizerHasItsSettings) {
  for (const char* name : {"gpt-2", "gpt2", "smollm", "starcoder", "llama-bpe", "llama3", "qwen2",
                           "deepseek-r1-qwen", "tekken"}) {
    const auto spec =
        read_gguf_tokenizer(metadata_of(with(byte_level_entries(), "pre", std::string(name))));
    EXPECT_EQ(spec->pre_tokenizer.back().kind, PreTokenizerStep::Kind::kByteLevel) << name;
    EXPECT_EQ(spec->normalizer.size(), std::string(name).find("qwen") == std::string::npos ? 0 : 1)
        << name;
  }
}

TEST(GgufTokenizer, ReadsSentencePiece) {
  const TokenizerSpec spec = *read_gguf_tokenizer(metadata_of(sentencepiece_entries()));
  EXPECT_EQ(spec.kind, TokenizerKind::kSentencePieceBpe);
  EXPECT_EQ(spec.unk_id, 0);
  EXPECT_EQ(spec.scores.size(), 5U);
  EXPECT_TRUE(spec.byte_fallback);
  EXPECT_TRUE(spec.add_prefix_space);
  EXPECT_EQ(spec.normalizer.size(), 2U);
  const auto bare =
      read_gguf_tokenizer(metadata_of(with(sentencepiece_entries(), "add_space_prefix", false)));
  EXPECT_FALSE(bare->add_prefix_space);
  EXPECT_EQ(bare->normalizer.size(), 1U);
  EXPECT_EQ(read_gguf_tokenizer(
                metadata_of(with(sentencepiece_entries(), "unknown_token_id", int64_t{4})))
                ->unk_id,
            4);
}

TEST(GgufTokenizer, RefusesByName) {
  const Entries bytes = byte_level_entries();
  const Entries pieces = sentencepiece_entries();
  expect_refused(with(bytes, "model", std::string("t5")), ErrorCode::kUnsupported, "\"t5\"");
  expect_refused(with(bytes, "pre", std::string("novelty")), ErrorCode::kUnsupported,
                 "\"novelty\"");
  expect_refused(without(bytes, "pre"), ErrorCode::kUnsupported, "tokenizer.ggml.pre");
  expect_refused(without(bytes, "tokens"), ErrorCode::kInvalidArgument, "tokenizer.ggml.tokens");
  expect_refused(without(bytes, "merges"), ErrorCode::kInvalidArgument, "tokenizer.ggml.merges");
  for (const char* merge : {"ab", "a ", "a"}) {
    expect_refused(with(bytes, "merges", Strings{merge}), ErrorCode::kInvalidArgument, "merge 0");
  }
  expect_refused(with(bytes, "token_type", Integers{1}), ErrorCode::kInvalidArgument,
                 "1 entries for 7");
  for (const int64_t id : {int64_t{-1}, int64_t{5}, INT64_MAX}) {
    expect_refused(with(bytes, "eos_token_id", id), ErrorCode::kInvalidArgument, "eos_token_id");
  }
  expect_refused(with(without(bytes, "bos_token_id"), "add_bos_token", true),
                 ErrorCode::kInvalidArgument, "bos_token_id");
  expect_refused(without(pieces, "scores"), ErrorCode::kInvalidArgument, "scores");
  expect_refused(with(pieces, "scores", Floats{1}), ErrorCode::kInvalidArgument, "scores");
}

}  // namespace
}  // namespace lychee::io
