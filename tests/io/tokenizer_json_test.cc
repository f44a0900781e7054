#include "io/huggingface/tokenizer_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "lychee/error.h"

namespace lychee::io {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The smallest file of the GPT-2 family.
json byte_level_file() {
  return json::parse(R"({
    "version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [{"id": 3, "content": "<s>", "special": true, "normalized": false,
                      "single_word": false, "lstrip": false, "rstrip": true}],
    "normalizer": {"type": "NFC"},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
      {"type": "Digits", "individual_digits": true},
      {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]},
    "post_processor": {"type": "ByteLevel"},
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "dropout": null, "unk_token": null,
              "continuing_subword_prefix": "", "end_of_word_suffix": "", "fuse_unk": false,
              "byte_fallback": false, "ignore_merges": true,
              "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})");
}

json sentencepiece_file() {
  return json::parse(R"({
    "added_tokens": [{"id": 0, "content": "<unk>", "special": true}],
    "normalizer": {"type": "Sequence", "normalizers": [
      {"type": "Prepend", "prepend": "▁"},
      {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
    "pre_tokenizer": null,
    "post_processor": {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                 {"SpecialToken": {"id": "</s>", "type_id": 0}}],
      "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]},
                                     "</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]}}},
    "decoder": {"type": "Sequence", "decoders": [
      {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
      {"type": "ByteFallback"}, {"type": "Fuse"},
      {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
    "model": {"unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
              "vocab": {"<unk>": 0, "<s>": 1, "</s>": 2, "▁": 3, "a": 4, "▁a": 5},
              "merges": [["▁", "a"]]}})");
}

TokenizerSpec parse(const json& file, std::string_view config = "") {
  return parse_tokenizer_json(file.dump(), config);
}

void expect_refused(const json& file, ErrorCode code, const std::string& message) {
  try {
    (void)parse(file);
    ADD_FAILURE() << "no error; expected " << message;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(message));
  }
}

// The byte-level file with `value` at `pointer`.
json changed(const char* pointer, const char* value) {
  json file = byte_level_file();
  file[json::json_pointer(pointer)] = json::parse(value);
  return file;
}

TEST(TokenizerJson, ReadsByteLevelBpe) {
  const TokenizerSpec spec =
      parse(byte_level_file(), R"({"eos_token": {"content": "<s>"}, "bos_token": null,
                                   "pad_token": "b", "unk_token": "a"})");
  EXPECT_EQ(spec.kind, TokenizerKind::kByteLevelBpe);
  EXPECT_THAT(spec.tokens, ElementsAre("a", "b", "ab", "<s>"));
  EXPECT_THAT(spec.merges, ElementsAre(std::pair<std::string, std::string>("a", "b")));
  EXPECT_TRUE(spec.ignore_merges);
  ASSERT_EQ(spec.added_tokens.size(), 1U);
  EXPECT_TRUE(spec.added_tokens[0].special);
  EXPECT_TRUE(spec.added_tokens[0].rstrip);
  EXPECT_FALSE(spec.added_tokens[0].normalized);
  ASSERT_EQ(spec.pre_tokenizer.size(), 2U);
  EXPECT_EQ(spec.pre_tokenizer[0].kind, PreTokenizerStep::Kind::kDigits);
  EXPECT_TRUE(spec.pre_tokenizer[1].use_regex);
  EXPECT_EQ(spec.eos_id, 3);
  EXPECT_EQ(spec.pad_id, 1);
  EXPECT_EQ(spec.bos_id, -1);
  EXPECT_EQ(spec.unk_id, -1);  // the configuration's unk_token is for templates alone
  EXPECT_EQ(spec.unk_token, "a");
}

TEST(TokenizerJson, ReadsSentencePieceBpe) {
  const TokenizerSpec spec = parse(sentencepiece_file());
  EXPECT_EQ(spec.kind, TokenizerKind::kSentencePieceBpe);
  EXPECT_EQ(spec.unk_id, 0);
  EXPECT_TRUE(spec.byte_fallback);
  EXPECT_TRUE(spec.fuse_unk);
  EXPECT_TRUE(spec.add_prefix_space);
  EXPECT_THAT(spec.prefix_ids, ElementsAre(1));
  EXPECT_THAT(spec.suffix_ids, ElementsAre(2));
  ASSERT_EQ(spec.normalizer.size(), 2U);
  EXPECT_EQ(spec.normalizer[1].pattern, " ");
}

TEST(TokenizerJson, ReadsMetaspace) {
  json file = sentencepiece_file();
  file["pre_tokenizer"] = json::parse(R"({"type": "Metaspace", "replacement": "▁",
                                          "prepend_scheme": "first", "split": false})");
  file["decoder"] = json::parse(R"({"type": "Metaspace", "prepend_scheme": "never"})");
  const TokenizerSpec spec = parse(file);
  EXPECT_EQ(spec.pre_tokenizer[0].prepend, PreTokenizerStep::Prepend::kFirst);
  EXPECT_FALSE(spec.pre_tokenizer[0].split);
  EXPECT_FALSE(spec.add_prefix_space);
  file["pre_tokenizer"]["prepend_scheme"] = "sometimes";
  expect_refused(file, ErrorCode::kUnsupported, "sometimes");
  file["pre_tokenizer"] = json::parse(R"({"type": "Metaspace", "replacement": "_"})");
  expect_refused(file, ErrorCode::kUnsupported, "\"_\"");
  file["pre_tokenizer"] = json::parse(R"({"type": "Metaspace", "add_prefix_space": false})");
  EXPECT_EQ(parse(file).pre_tokenizer[0].prepend, PreTokenizerStep::Prepend::kNever);
}

TEST(TokenizerJson, ReadsSplitPatterns) {
  const TokenizerSpec spec = parse(
      changed("/pre_tokenizer/pretokenizers/0",
              R"({"type": "Split", "pattern": {"String": "a.b"}, "behavior": "MergedWithNext"})"));
  EXPECT_EQ(spec.pre_tokenizer[0].pattern, "a\\.b");
  EXPECT_EQ(spec.pre_tokenizer[0].behavior, PreTokenizerStep::Behavior::kMergedWithNext);
}

TEST(TokenizerJson, RefusesWhatItDoesNotKnowByName) {
  for (const auto& [pointer, value, name] : std::vector<std::array<const char*, 3>>{
           {"/novelty", "1", "\"novelty\""},
           {"/model/novelty", "1", "\"novelty\""},
           {"/model/type", R"("Unigram")", "Unigram"},
           {"/model/dropout", "0.1", "dropout"},
           {"/model/end_of_word_suffix", R"("</w>")", "end_of_word_suffix"},
           {"/model/continuing_subword_prefix", R"("##")", "continuing_subword_prefix"},
           {"/added_tokens/0/novelty", "1", "\"novelty\""},
           {"/normalizer", R"({"type": "BertNormalizer"})", "BertNormalizer"},
           {"/normalizer", R"({"type": "NFC", "novelty": 1})", "\"novelty\""},
           {"/normalizer", R"({"type": "Replace", "pattern": {"Regex": " +"}, "content": ""})",
            " +"},
           {"/normalizer", R"({"type": "Replace", "pattern": {"Glob": "*"}, "content": ""})",
            "Glob"},
           {"/pre_tokenizer", R"({"type": "Whitespace"})", "Whitespace"},
           {"/pre_tokenizer",
            R"({"type": "Split", "pattern": {"String": " "}, "behavior": "Eaten"})", "Eaten"},
           {"/post_processor", R"({"type": "BertProcessing"})", "BertProcessing"},
           {"/post_processor",
            R"({"type": "TemplateProcessing", "single": [], "special_tokens": {}})", "0 sequences"},
           {"/post_processor",
            R"({"type": "TemplateProcessing", "single": [{"Other": {"id": "A"}}]})", "Other"},
           {"/decoder", R"({"type": "WordPiece"})", "WordPiece"},
           {"/decoder", "null", "ByteLevel"},
           {"/decoder", R"({"type": "Strip", "content": " ", "start": 2, "stop": 0})", "Strip"}}) {
    expect_refused(changed(pointer, value), ErrorCode::kUnsupported, name);
  }
  json twice = sentencepiece_file();
  const json processor = twice["post_processor"];
  twice["post_processor"] = {{"type", "Sequence"}, {"processors", {processor, processor}}};
  expect_refused(twice, ErrorCode::kUnsupported, "second TemplateProcessing");
  json deep = {{"type", "NFC"}};
  for (int i = 0; i < 20; ++i) {
    deep = {{"type", "Sequence"}, {"normalizers", json::array({deep})}};
  }
  json file = byte_level_file();
  file["normalizer"] = deep;
  expect_refused(file, ErrorCode::kUnsupported, "nests too deeply");
}

TEST(TokenizerJson, RefusesWhatIsMalformed) {
  for (const auto& [pointer, value, name] : std::vector<std::array<const char*, 3>>{
           {"", "[]", "JSON object"},
           {"", "{}", "\"model\""},
           {"/model/vocab", "[]", "model.vocab"},
           {"/model/vocab/a", "-1", "\"a\""},
           {"/model/vocab/a", "1.5", "\"a\""},
           {"/model/vocab/a", "4294967296", "\"a\""},
           {"/model/vocab/a", "18446744073709551615", "\"a\""},
           {"/model/vocab/a", "1", "both"},
           {"/model/merges", "{}", "merges"},
           {"/model/merges/0", R"("ab")", "merge 0"},
           {"/model/merges/0", R"("a b c")", "merge 0"},
           {"/model/merges/0", R"(["a"])", "merge 0"},
           {"/model/merges/0", "7", "merge 0"},
           {"/model/unk_token", R"("<none>")", "<none>"},
           {"/model/fuse_unk", "1", "fuse_unk"},
           {"/added_tokens", "{}", "added_tokens"},
           {"/added_tokens/0", "1", "added token"},
           {"/added_tokens/0/content", R"("")", "no content"},
           {"/added_tokens/0/content", "1", "content"},
           {"/added_tokens/0/id", "1", "both"},
           {"/normalizer", "1", "normalizer"},
           {"/normalizer", "{}", "no type"},
           {"/normalizer", R"({"type": "Sequence"})", "normalizers"},
           {"/normalizer", R"({"type": "Replace", "pattern": {"String": ""}, "content": "x"})",
            "empty pattern"},
           {"/normalizer", R"({"type": "Replace", "content": "x"})", "pattern"},
           {"/post_processor", R"({"type": "TemplateProcessing"})", "single"},
           {"/post_processor", R"({"type": "TemplateProcessing", "single": [1]})", "malformed"},
           {"/post_processor",
            R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<x>"}}]})",
            "<x>"},
           {"/post_processor",
            R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<x>"}}],
                "special_tokens": {"<x>": {"ids": [99]}}})",
            "outside the vocabulary"}}) {
    json file = byte_level_file();
    if (*pointer == '\0') {
      file = json::parse(value);
    } else {
      file[json::json_pointer(pointer)] = json::parse(value);
    }
    expect_refused(file, ErrorCode::kInvalidArgument, name);
  }
  EXPECT_THROW((void)parse_tokenizer_json("{\"model\": ", ""), Error);
  EXPECT_THROW((void)parse_tokenizer_json(std::string(100000, '['), ""), Error);
  EXPECT_THROW((void)parse_tokenizer_json(byte_level_file().dump(), "{"), Error);
  EXPECT_THROW((void)parse_tokenizer_json(byte_level_file().dump(), R"({"bos_token": 1})"), Error);
}

TEST(ChatTemplateFields, StringListAndNothing) {
  EXPECT_EQ(parse_chat_template(R"({"chat_template": "x"})"), "x");
  EXPECT_EQ(parse_chat_template(R"({"chat_template": [{"name": "rag", "template": "r"},
                                    {"name": "default", "template": "d"}]})"),
            "d");
  EXPECT_EQ(parse_chat_template(R"({"chat_template": []})"), "");
  EXPECT_EQ(parse_chat_template("{}"), "");
  EXPECT_THROW((void)parse_chat_template(R"({"chat_template": 1})"), Error);
  EXPECT_THROW((void)parse_chat_template(R"({"chat_template": [1]})"), Error);
}

TEST(TokenizerFolder, ReadsWhatIsThere) {
  const std::filesystem::path folder =
      std::filesystem::path(::testing::TempDir()) / "lychee_tokenizer_folder";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  EXPECT_FALSE(read_tokenizer(folder).has_value());
  EXPECT_EQ(read_chat_template(folder), "");
  std::ofstream(folder / "tokenizer.json") << byte_level_file();
  EXPECT_EQ(read_tokenizer(folder)->eos_id, -1);
  std::ofstream(folder / "tokenizer_config.json")
      << R"({"eos_token": "<s>", "chat_template": "from config"})";
  EXPECT_EQ(read_tokenizer(folder)->eos_id, 3);
  EXPECT_EQ(read_chat_template(folder), "from config");
  std::ofstream(folder / "chat_template.json") << R"({"chat_template": "from json"})";
  EXPECT_EQ(read_chat_template(folder), "from json");
  std::ofstream(folder / "chat_template.jinja") << "from jinja";
  EXPECT_EQ(read_chat_template(folder), "from jinja");
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace lychee::io
