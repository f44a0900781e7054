#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <string>

#include "io/fetch/sha256.h"
#include "io/model_files.h"
#include "support/expect_error.h"
#include "support/tiny_model.h"

namespace lychee::io {
namespace {

namespace fs = std::filesystem;
using test::expect_error;
using testing::ElementsAre;

constexpr auto kInvalid = ErrorCode::kInvalidArgument;

class OpenModel : public testing::Test {
 protected:
  [[nodiscard]] fs::path write_folder() {
    test::write_hf_folder(path() / "tiny", config_, weights_);
    return path() / "tiny";
  }
  [[nodiscard]] fs::path write_gguf() {
    test::write_gguf_file(path() / "tiny.gguf", config_, weights_);
    return path() / "tiny.gguf";
  }
  [[nodiscard]] const fs::path& path() const { return folder_.path(); }
  static void expect_refused(const fs::path& model, const char* message) {
    expect_error(kInvalid, message, [&] { static_cast<void>(open_model(model.string())); });
  }

  test::TemporaryFolder folder_;
  ModelConfig config_ = test::tiny_config();
  std::vector<test::WriterTensor> weights_ = test::tiny_weights(config_);
};

TEST_F(OpenModel, FolderAndGgufHoldTheSameModel) {
  const ModelFiles folder = open_model(write_folder().string());
  const ModelFiles gguf = open_model(write_gguf().string());
  EXPECT_EQ(folder.name, "tiny");
  EXPECT_EQ(gguf.name, "tiny.gguf");
  EXPECT_EQ(folder.naming, TensorNaming::kHuggingFace);
  EXPECT_EQ(gguf.naming, TensorNaming::kGguf);
  EXPECT_EQ(folder.tensors.size(), weights_.size());
  EXPECT_EQ(gguf.tensors.size(), weights_.size());
  EXPECT_EQ(folder.weight_bytes, gguf.weight_bytes);
  EXPECT_EQ(folder.config.head_dim, gguf.config.head_dim);
  EXPECT_EQ(folder.config.vocab_size, gguf.config.vocab_size);
  EXPECT_EQ(folder.config.tie_word_embeddings, gguf.config.tie_word_embeddings);
  const TensorView& norm = folder.tensors.at("model.norm.weight");
  const TensorView& same = gguf.tensors.at("output_norm.weight");
  EXPECT_EQ(std::memcmp(norm.data, same.data, static_cast<size_t>(norm.bytes())), 0);
  EXPECT_FALSE(folder.tokenizer.has_value());
  EXPECT_THAT(folder.generation.eos_ids, ElementsAre(2));
}

TEST_F(OpenModel, TrailingSlashKeepsTheName) {
  EXPECT_EQ(open_model(write_folder().string() + "/").name, "tiny");
}

TEST_F(OpenModel, DtypeIsThatOfMostWeights) {
  weights_ = test::tiny_weights(config_, DType::kQ8_0);
  EXPECT_EQ(open_model(write_gguf().string()).config.dtype, DType::kQ8_0);
  weights_ = test::tiny_weights(config_, DType::kBF16);
  EXPECT_EQ(open_model(write_folder().string()).config.dtype, DType::kBF16);
}

TEST_F(OpenModel, HashesTheHeader) {
  const fs::path folder = write_folder();
  EXPECT_EQ(open_model(folder.string()).header_sha256, sha256_file(folder / "config.json"));
  const std::string before = open_model(write_gguf().string()).header_sha256;
  EXPECT_EQ(before.size(), 64U);
  weights_ = test::tiny_weights(config_, DType::kF32, 1);
  EXPECT_EQ(open_model(write_gguf().string()).header_sha256, before);  // data does not count
  config_.rope_theta = 20000;
  EXPECT_NE(open_model(write_gguf().string()).header_sha256, before);
}

TEST_F(OpenModel, GenerationConfigGoesFirst) {
  const fs::path folder = write_folder();
  test::write_text(folder / "generation_config.json",
                   R"({"eos_token_id":[5,6],"temperature":0.6,"top_p":0.9,"top_k":40,
                       "repetition_penalty":1.1,"do_sample":true})");
  const GenerationDefaults defaults = open_model(folder.string()).generation;
  EXPECT_THAT(defaults.eos_ids, ElementsAre(5, 6));
  EXPECT_EQ(defaults.temperature, 0.6);
  EXPECT_EQ(defaults.top_p, 0.9);
  EXPECT_EQ(defaults.top_k, 40);
  EXPECT_EQ(defaults.repetition_penalty, 1.1);
  test::write_text(folder / "generation_config.json", R"({"top_k":-1})");
  expect_refused(folder, "top_k is -1");
}

TEST_F(OpenModel, JinjaFileWins) {
  const fs::path folder = write_folder();
  test::write_text(folder / "tokenizer_config.json", R"({"chat_template":"from config"})");
  EXPECT_EQ(open_model(folder.string()).chat_template, "from config");
  test::write_text(folder / "tokenizer_config.json",
                   R"({"chat_template":[{"name":"tool_use","template":"t"},
                                        {"name":"default","template":"d"}]})");
  EXPECT_EQ(open_model(folder.string()).chat_template, "d");
  test::write_text(folder / "chat_template.jinja", "from file");
  EXPECT_EQ(open_tokenizer(folder.string()).chat_template, "from file");
}

TEST_F(OpenModel, TokenizerNeedsNoWeights) {
  const fs::path folder = path() / "words";
  fs::create_directories(folder);
  test::write_text(folder / "chat_template.jinja", "x");
  EXPECT_EQ(open_tokenizer(folder.string()).chat_template, "x");
  test::GgufWriter writer;
  writer.string("tokenizer.chat_template", "y");
  writer.raw_tensor("unsupported", std::vector<uint64_t>{256}, 10, 0);
  test::write_bytes(path() / "words.gguf", writer.encode());
  EXPECT_EQ(open_tokenizer((path() / "words.gguf").string()).chat_template, "y");
}

TEST_F(OpenModel, RecognisesGgufWithoutItsExtension) {
  fs::rename(write_gguf(), path() / "blob");
  EXPECT_EQ(open_model((path() / "blob").string()).config.num_layers, 3);
}

TEST_F(OpenModel, SaysWhatIsMissing) {
  expect_refused(path() / "nowhere", "does not exist; give a GGUF file");
  expect_refused(path(), "has no config.json; a model folder holds");
  test::write_text(path() / "notes.txt", "hello");
  expect_refused(path() / "notes.txt", "is not a GGUF file");
  static_cast<void>(write_gguf());
  expect_refused(path(), "tiny.gguf itself");
  const fs::path folder = write_folder();
  fs::remove(folder / "model.safetensors");
  expect_refused(folder, "holds neither model.safetensors");
}

TEST_F(OpenModel, RefusesBrokenFiles) {
  const fs::path folder = write_folder();
  fs::resize_file(folder / "model.safetensors", fs::file_size(folder / "model.safetensors") - 1);
  expect_refused(folder, "truncated");
  test::write_text(folder / "config.json", "{");
  expect_refused(folder, "config.json is not valid JSON");
  test::write_text(folder / "config.json", "[]");
  expect_refused(folder, "config.json is not a JSON object");
  test::write_text(folder / "config.json", std::string(1000, '['));
  expect_refused(folder, "nested more than");
  const fs::path file = write_gguf();
  fs::resize_file(file, fs::file_size(file) - 1);
  expect_refused(file, "reaches beyond");
  fs::resize_file(file, 0);
  expect_refused(file, "truncated");
}

}  // namespace
}  // namespace lychee::io
