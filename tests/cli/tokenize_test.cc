#include <fstream>

#include "cli/program.h"

namespace lychee::test {
namespace {

std::string data(const std::string& name) {
  return std::string(LYCHEE_SOURCE_DIR) + "/tests/data/" + name;
}

Json read_json(const std::string& path) {
  std::ifstream stream(path);
  return Json::parse(stream);
}

class TokenizeTest : public FilesTest {};

TEST_F(TokenizeTest, EncodesTheWordsOfTheBuiltinModel) {
  const Json json = run_json(
      {"tokenize", "encode", "--model", "builtin:needle", "--text-file", file("t", "is 4 2 .\n")});
  EXPECT_EQ(json["token_ids"], Json::array({13, 6, 4, 12}));
  EXPECT_EQ(json["options"]["model"], "builtin:needle");
  EXPECT_EQ(json["options"]["model_sha256"].get<std::string>().size(), 64U);
  const Json back = run_json({"tokenize", "decode", "--model", "builtin:needle", "--token-ids",
                              file("ids", "[13, 6, 4, 12]")});
  EXPECT_EQ(back["text"], "is 4 2 .");
}

// A whole golden file in one call, as an array and as lines.
TEST_F(TokenizeTest, EncodesGoldenStringsOfEveryFamily) {
  for (const std::string family : {"smollm", "qwen2", "llama2", "llama3", "mistral"}) {
    SCOPED_TRACE(family);
    const std::string folder = data("tokenizers/" + family);
    const Json cases = read_json(folder + "/golden.json")["cases"];
    Json texts = Json::array();
    Json ids = Json::array();
    std::string lines;
    for (const Json& golden : cases) {
      // The oracle puts a second BOS before a text that begins with one; we do not.
      if (golden["ids"].size() > 1 && golden["ids"][0] == golden["ids"][1]) {
        continue;
      }
      texts.push_back(golden["text"]);
      ids.push_back(golden["ids"]);
      lines += golden["text"].dump() + "\n";
    }
    const auto encode = [&](const std::string& model, const std::string& jsonl) {
      return run_json({"tokenize", "encode", "--model", model, "--jsonl", jsonl})["token_ids"];
    };
    EXPECT_EQ(encode(folder, file("list.json", texts.dump())), ids);
    EXPECT_EQ(encode(folder, file("lines.jsonl", lines)), ids);
    if (std::filesystem::exists(folder + "/tokenizer.gguf")) {
      EXPECT_EQ(encode(folder + "/tokenizer.gguf", path("lines.jsonl")), ids);
    }
  }
}

TEST_F(TokenizeTest, EncodesAndDecodesQwen3) {
  const Json cases = read_json(data("qwen3/golden.json"))["cases"];
  Json texts = Json::array();
  Json ids = Json::array();
  for (const Json& golden : cases) {
    texts.push_back(golden["text"]);
    ids.push_back(golden["ids"]);
  }
  EXPECT_EQ(run_json({"tokenize", "encode", "--model", data("qwen3"), "--jsonl",
                      file("texts.json", texts.dump())})["token_ids"],
            ids);
  const std::string some = file("ids.json", "[151644, 872, 198, 9707, 0, 151645]");
  const auto decode = [&](const std::vector<std::string>& more) {
    return run_json(concat({"tokenize", "decode", "--model", data("qwen3"), "--token-ids", some},
                           more))["text"];
  };
  EXPECT_EQ(decode({}), "<|im_start|>user\nHello!<|im_end|>");
  EXPECT_EQ(decode({"--skip-special"}), "user\nHello!");
}

TEST_F(TokenizeTest, RendersQwen3Chats) {
  const Json chat = read_json(data("qwen3/chat_golden.json"))["chats"][0];
  const std::string messages = file("m.json", chat["messages"].dump());
  for (const Json& render : chat["renders"]) {
    std::vector<std::string> arguments = {"tokenize",    "chat",       "--model",
                                          data("qwen3"), "--messages", messages};
    if (!render["add_generation_prompt"].get<bool>()) {
      arguments.emplace_back("--no-generation-prompt");
    }
    for (const auto& [key, value] : render.items()) {
      if (key != "add_generation_prompt" && key != "text" && key != "ids") {
        arguments = concat(arguments, {"--template-arg", key + "=" + value.dump()});
      }
    }
    const Json json = run_json(arguments);
    EXPECT_EQ(json["text"], render["text"]);
    EXPECT_EQ(json["token_ids"], render["ids"]);
  }
}

TEST_F(TokenizeTest, PlainOutputIsTheValueAlone) {
  const std::string text = file("t", "is 4");
  EXPECT_EQ(
      run_program({"tokenize", "encode", "--model", "builtin:needle", "--text-file", text}).out,
      "[13,6]\n");
  EXPECT_EQ(run_program({"tokenize", "decode", "--model", "builtin:needle", "--token-ids",
                         file("ids", "13 6")})
                .out,
            "is 4");
  const ProgramResult chat = run_program(
      {"tokenize", "chat", "--model", "builtin:needle", "--messages",
       file("m.json", R"([{"role": "user", "content": "is"}, {"role": "user", "content": "4"}])")});
  EXPECT_EQ(chat.out, "is 4");
}

TEST_F(TokenizeTest, BytesThatAreNoUtf8BecomeReplacementCharacters) {
  const std::string model = data("tokenizers/smollm");
  const Json json = run_json({"tokenize", "encode", "--model", model, "--text-file",
                              file("bytes",
                                   "a\xff\xfe"
                                   "b\xc3")});
  const Json back = run_json(
      {"tokenize", "decode", "--model", model, "--token-ids", file("i", json["token_ids"].dump())});
  EXPECT_EQ(back["text"], "a\uFFFD\uFFFDb\uFFFD");
}

TEST_F(TokenizeTest, NothingIsNoTokens) {
  const std::string model = data("tokenizers/smollm");
  const auto encode = [&](const std::string& flag, const std::string& text) {
    return run_json({"tokenize", "encode", "--model", model, flag, file("t", text)})["token_ids"];
  };
  EXPECT_EQ(encode("--text-file", ""), Json::array());
  EXPECT_EQ(encode("--jsonl", ""), Json::array());
  EXPECT_EQ(encode("--jsonl", "\n\n"), Json::array());
  EXPECT_EQ(encode("--jsonl", R"(["", ""])"), Json::array({Json::array(), Json::array()}));
  EXPECT_EQ(
      run_json({"tokenize", "decode", "--model", model, "--token-ids", file("i", "[]")})["text"],
      "");
}

}  // namespace
}  // namespace lychee::test
