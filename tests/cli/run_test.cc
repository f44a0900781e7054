#include <algorithm>
#include <csignal>

#include "cli/program.h"

namespace lychee::test {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kPrompt = "The pass key is 4 2 7 . The pass key is";

class RunTest : public FilesTest {
 protected:
  [[nodiscard]] std::vector<std::string> tiny(const std::vector<std::string>& more = {}) const {
    return concat({"run", "--model", tiny_model(), "--threads", "1", "--exact", "--token-ids",
                   ids_file(60), "--max-tokens", "20", "--ignore-eos"},
                  more);
  }
  [[nodiscard]] std::vector<std::string> text(const std::vector<std::string>& more) const {
    return concat({"run", "--model", text_model(), "--threads", "1", "--exact", "--max-tokens",
                   "12", "--ignore-eos"},
                  more);
  }
};

TEST_F(RunTest, JsonHasEveryField) {
  const Json json = run_json(needle("run", {"--prompt", kPrompt, "--max-tokens", "5"}));
  EXPECT_THAT(json["text"].get<std::string>(), testing::StartsWith("4 2 7 ."));
  EXPECT_EQ(json["token_ids"].size(), 5U);
  EXPECT_EQ(json["prompt_tokens"], 12);
  EXPECT_EQ(json["finish_reason"], "length");
  for (const char* key : {"ttft_s", "prefill_tokens_per_s", "decode_tokens_per_s", "kv_read"}) {
    ASSERT_TRUE(json[key].is_number()) << key;
    EXPECT_GT(json[key].get<double>(), 0) << key;
  }
  EXPECT_TRUE(json["dense_steps"].is_number_integer());
  EXPECT_GT(json["peak_bytes"].get<int64_t>(), 1 << 20);
}

TEST_F(RunTest, OptionsHaveEveryValue) {
  const Json options =
      run_json(needle("run", {"--prompt", kPrompt, "--max-tokens", "1", "--seed", "7"}))["options"];
  EXPECT_EQ(options["policy"], "hybrid");
  EXPECT_EQ(options["heads"], "builtin");
  EXPECT_EQ(options["select"], "topk");
  EXPECT_EQ(options["budget"], 4096);
  EXPECT_EQ(options["sink"], 128);
  EXPECT_EQ(options["recent"], 256);
  EXPECT_EQ(options["dense_below"], 4096);  // no crossover measured: the budget
  EXPECT_TRUE(options["kv_dtype"].is_string());
  EXPECT_TRUE(options["weights"].is_string());
  EXPECT_EQ(options["exact"], false);
  EXPECT_EQ(options["seed"], 7);
  EXPECT_EQ(options["threads"], 1);
  EXPECT_EQ(options["device"], "cpu");
  EXPECT_EQ(options["model"], "builtin:needle");
  EXPECT_EQ(options["model_sha256"].get<std::string>().size(), 64U);
}

TEST_F(RunTest, StreamsTheTextOfTheJson) {
  const std::vector<std::string> arguments = text({"--prompt", "Hello, world! The computer"});
  const Json json = run_json(arguments);
  const ProgramResult plain = run_program(arguments);
  EXPECT_EQ(plain.exit_code, 0);
  EXPECT_FALSE(json["text"].get<std::string>().empty());
  EXPECT_EQ(plain.out, json["text"].get<std::string>() + "\n");
  EXPECT_THAT(plain.err, HasSubstr("tokens/s"));
  EXPECT_THAT(plain.err, HasSubstr("first token after"));
  EXPECT_THAT(plain.err, HasSubstr("KV read"));
  EXPECT_THAT(plain.err, HasSubstr("memory"));
}

TEST_F(RunTest, TokenIdsComeInTwoForms) {
  const Json encoded = run_json(
      {"tokenize", "encode", "--model", text_model(), "--text-file", file("t", "a word and more")});
  const std::string list = file("list.json", encoded["token_ids"].dump());
  std::string plain;
  for (const Json& id : encoded["token_ids"]) {
    plain += "\n\t " + std::to_string(id.get<int>()) + " ";
  }
  const Json from_text = run_json(text({"--prompt", "a word and more"}));
  const Json from_list = run_json(text({"--token-ids", list}));
  const Json from_plain = run_json(text({"--token-ids", file("plain.txt", plain)}));
  EXPECT_EQ(from_list["token_ids"], from_text["token_ids"]);
  EXPECT_EQ(from_plain["token_ids"], from_text["token_ids"]);
  EXPECT_EQ(from_plain["prompt_tokens"], encoded["token_ids"].size());
}

// Fed back as ids: a prompt joined otherwise would be continued otherwise.
TEST_F(RunTest, PromptFileAndPromptAreJoinedByABlankLine) {
  const std::string book = file("book.txt", "Once upon a time");
  const Json encoded = run_json({"tokenize", "encode", "--model", text_model(), "--text-file",
                                 file("joined", "Once upon a time\n\nWho is it?")});
  const Json by_ids = run_json(text({"--token-ids", file("ids", encoded["token_ids"].dump())}));
  const Json joined = run_json(text({"--prompt-file", book, "--prompt", "Who is it?"}));
  EXPECT_EQ(joined["prompt_tokens"], encoded["token_ids"].size());
  EXPECT_EQ(joined["token_ids"], by_ids["token_ids"]);
  const Json from_input =
      run_json(text({"--prompt-file", "-", "--prompt", "Who is it?"}), "Once upon a time");
  EXPECT_EQ(from_input["token_ids"], by_ids["token_ids"]);
}

TEST_F(RunTest, AByteOrderMarkIsNoPartOfAText) {
  const std::string marked = file("marked.txt", "\xef\xbb\xbfOnce upon a time");
  const std::string plain = file("plain.txt", "Once upon a time");
  const Json of_marked =
      run_json({"tokenize", "encode", "--model", text_model(), "--text-file", marked});
  const Json of_plain =
      run_json({"tokenize", "encode", "--model", text_model(), "--text-file", plain});
  EXPECT_EQ(of_marked["token_ids"], of_plain["token_ids"]);
}

TEST_F(RunTest, TemplateMakesOneUserMessage) {
  const std::string messages =
      file("m.json",
           R"([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"}])");
  const Json chat = run_json({"tokenize", "chat", "--model", text_model(), "--messages", messages});
  const Json by_ids = run_json(text({"--token-ids", file("ids", chat["token_ids"].dump())}));
  const Json by_template =
      run_json(text({"--template", "--system", "Be brief.", "--prompt", "Who?"}));
  EXPECT_EQ(by_template["prompt_tokens"], chat["token_ids"].size());
  EXPECT_EQ(by_template["token_ids"], by_ids["token_ids"]);
}

TEST_F(RunTest, ModelWithoutTokenizerPrintsIds) {
  const Json json = run_json(tiny());
  EXPECT_EQ(json["text"], "");
  const ProgramResult plain = run_program(tiny());
  std::string expected;
  for (const Json& id : json["token_ids"]) {
    expected += std::to_string(id.get<int>()) + " ";
  }
  EXPECT_EQ(plain.out, expected + "\n");
}

TEST_F(RunTest, StopStringCuts) {
  const std::vector<std::string> arguments = text({"--prompt", "Hello, world!"});
  const std::string whole = run_json(arguments)["text"];
  // An ASCII character that is not the first: a cut there splits no other.
  const auto found = std::find_if(whole.begin() + 2, whole.end(), [&](char c) {
    return static_cast<unsigned char>(c) < 0x80 && whole.find(c) > 0;
  });
  ASSERT_NE(found, whole.end()) << whole;
  const std::string stop(1, *found);
  const Json json = run_json(concat(arguments, {"--stop", "never", "--stop", stop}));
  EXPECT_EQ(json["text"], whole.substr(0, whole.find(stop)));
  EXPECT_EQ(json["finish_reason"], "stop");
  EXPECT_LT(json["token_ids"].size(), 12U);
  EXPECT_EQ(json["options"]["stop"], Json::array({"never", stop}));
}

TEST_F(RunTest, MaxTokensMayBeZeroOrOne) {
  const Json zero = run_json(needle("run", {"--prompt", kPrompt, "--max-tokens", "0"}));
  EXPECT_EQ(zero["token_ids"], Json::array());
  EXPECT_EQ(zero["text"], "");
  EXPECT_EQ(zero["finish_reason"], "length");
  EXPECT_EQ(zero["kv_read"], 1.0);
  const Json one = run_json(needle("run", {"--prompt", kPrompt, "--max-tokens", "1"}));
  EXPECT_EQ(one["text"], "4");
  EXPECT_EQ(one["token_ids"].size(), 1U);
}

TEST_F(RunTest, SeedDecidesWhatIsDrawn) {
  const auto drawn = [&](const char* seed) {
    return run_json(tiny({"--temperature", "1", "--seed", seed}))["token_ids"];
  };
  const Json first = drawn("1");
  EXPECT_EQ(drawn("1"), first);
  EXPECT_NE(drawn("2"), first);
  EXPECT_EQ(drawn("18446744073709551615").size(), 20U);
  EXPECT_NE(run_json(tiny())["token_ids"], first);
}

TEST_F(RunTest, TopKOfOneIsGreedy) {
  const Json greedy = run_json(tiny());
  const Json drawn = run_json(tiny({"--temperature", "2", "--top-k", "1", "--seed", "5"}));
  EXPECT_EQ(drawn["token_ids"], greedy["token_ids"]);
}

TEST_F(RunTest, ComparesWithDense) {
  const Json json = run_json(tiny(
      concat(small_budget(), {"--heads", "uniform:3", "--dense-below", "0", "--compare-dense"})));
  ASSERT_TRUE(json.contains("dense"));
  EXPECT_LT(json["kv_read"].get<double>(), 0.9);
  EXPECT_EQ(json["dense"]["kv_read"], 1.0);
  EXPECT_EQ(json["dense"]["token_ids"], run_json(tiny())["token_ids"]);
  EXPECT_GT(json["dense"]["decode_tokens_per_s"].get<double>(), 0);
  const ProgramResult plain =
      run_program(needle("run", {"--prompt", kPrompt, "--max-tokens", "4", "--compare-dense"}));
  EXPECT_EQ(plain.exit_code, 0);
  EXPECT_EQ(plain.out, "4 2 7 .\n");
  EXPECT_THAT(plain.err, HasSubstr("times as fast as dense"));
}

// Every page of the cache is the prompt's: a fork that nobody asked for would need a second copy.
TEST_F(RunTest, FullCacheEndsTheAnswer) {
  const Json json = run_json(tiny({"--max-cache-tokens", "64"}));
  EXPECT_EQ(json["token_ids"].size(), 5U);  // four of them fit, the fifth is not fed
  EXPECT_EQ(json["finish_reason"], "length");
  const ProgramResult plain = run_program(tiny({"--max-cache-tokens", "64"}));
  EXPECT_THAT(plain.err, HasSubstr("cache is full"));
}

TEST_F(RunTest, ContextEndsTheAnswer) {
  const Json json = run_json({"run", "--model", tiny_model(), "--threads", "1", "--token-ids",
                              ids_file(250), "--ignore-eos"});
  EXPECT_EQ(json["token_ids"].size(), 7U);
  EXPECT_EQ(json["finish_reason"], "length");
}

TEST_F(RunTest, SaysThatThereIsNoPlan) {
  EXPECT_THAT(run_program(tiny()).err, HasSubstr("no head plan"));
  EXPECT_THAT(run_program(tiny({"--policy", "dense"})).err, Not(HasSubstr("no head plan")));
}

TEST_F(RunTest, ChatKeepsItsCache) {
  const ProgramResult result =
      run_program(needle("run", {"--chat", "--max-tokens", "3"}),
                  "The pass key is 4 2 . The pass key is\n\nThe pass key is\n/quit\nnot read\n");
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, "4 2 .\n4 2 .\n");
  EXPECT_THAT(result.err, HasSubstr("[0 of 11 tokens from the cache"));
  EXPECT_THAT(result.err, HasSubstr("[13 of 18 tokens from the cache"));
}

// `run` writes what it has; a shell sees 128 + the signal.
TEST_F(RunTest, ASignalStopsTheAnswerAndTheProgram) {
  const auto long_answer = needle("run", {"--prompt", kPrompt, "--max-tokens", "100000"});
  const ProgramResult result = stop_answer(long_answer, SIGINT);
  EXPECT_EQ(result.exit_code, 128 + SIGINT);
  EXPECT_THAT(result.out, testing::EndsWith("\n"));
  EXPECT_THAT(result.err, HasSubstr("KV read"));
}

TEST_F(RunTest, CtrlCStopsAnAnswerOfAChatAndSigtermTheChat) {
  const auto arguments = needle("run", {"--chat", "--max-tokens", "100000"});
  const std::string input = "The pass key is 4 2 . The pass key is\n";
  const ProgramResult stopped = stop_answer(arguments, SIGINT, input);
  EXPECT_EQ(stopped.exit_code, 0);
  EXPECT_THAT(stopped.err, HasSubstr("KV read"));
  EXPECT_EQ(stop_answer(arguments, SIGTERM, input + "again\n").exit_code, 128 + SIGTERM);
}

TEST_F(RunTest, ChatEndsWithItsInput) {
  const ProgramResult result = run_program({"run", "--model", text_model(), "--threads", "1",
                                            "--chat", "--system", "Be brief.", "--max-tokens", "4"},
                                           "Hello\nAgain");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("[0 of "));
  EXPECT_THAT(result.err, Not(HasSubstr("error")));
}

}  // namespace
}  // namespace lychee::test
