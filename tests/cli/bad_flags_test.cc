// What a user can get wrong on the command line: exit code 2 and one line that names the value and
// the limit.

#include "cli/program.h"

namespace lychee::test {
namespace {

struct BadFlag {
  const char* name;
  std::vector<std::string> flags;
  std::vector<std::string> parts;
};

void PrintTo(const BadFlag& flag, std::ostream* out) {
  *out << flag.name;
}

class BadFlagTest : public testing::TestWithParam<BadFlag> {};

TEST_P(BadFlagTest, IsRefused) {
  expect_failure(
      concat({"run", "--model", "builtin:needle", "--prompt", "the key"}, GetParam().flags), 2,
      GetParam().parts);
}

const std::vector<BadFlag> kBadFlags = {
    {"unknown_flag", {"--bogus"}, {"--bogus", "lycheedecode run --help"}},
    {"missing_value", {"--budget"}, {"--budget"}},
    {"word_for_number", {"--budget", "many"}, {"--budget", "many", "2147483647"}},
    {"negative_budget", {"--budget", "-5"}, {"-5", "0 and 2147483647"}},
    {"huge_budget", {"--budget", "99999999999"}, {"99999999999", "2147483647"}},
    {"hexadecimal", {"--budget", "0x200"}, {"0x200"}},
    {"fraction", {"--budget", "512.5"}, {"512.5", "whole"}},
    {"empty_number", {"--budget", ""}, {"--budget"}},
    {"below_sink_and_recent", {"--budget", "383"}, {"383", "128", "256", "384"}},
    {"zero_budget", {"--budget", "0"}, {"budget 0"}},
    {"zero_recent", {"--recent", "0"}, {"--recent", "between 1"}},
    {"negative_sink", {"--sink", "-1"}, {"--sink", "-1"}},
    {"huge_sink", {"--sink", "2147483647"}, {"2147483647", "budget 4096"}},
    {"block_no_multiple", {"--select", "block", "--budget", "1000"}, {"1000", "64"}},
    {"block_too_few",
     {"--select", "block", "--budget", "384"},
     {"384", "6 blocks", "sink 128", "recent 256", "7"}},
    {"select_unknown", {"--select", "best"}, {"--select", "best"}},
    {"ratio_nan", {"--select", "ratio", "--select-ratio", "nan"}, {"nan", "0 and 1"}},
    {"ratio_zero", {"--select", "ratio", "--select-ratio", "0"}, {"ratio 0", "(0, 1]"}},
    {"ratio_large", {"--select-ratio", "1.5"}, {"1.5", "0 and 1"}},
    {"mass_zero", {"--select", "mass", "--select-mass", "0"}, {"mass 0", "(0, 1]"}},
    {"mass_inf", {"--select-mass", "inf"}, {"inf", "0 and 1"}},
    {"threshold_negative", {"--select-threshold", "-0.1"}, {"-0.1", "0 and 1"}},
    {"dense_below_negative", {"--dense-below", "-1"}, {"-1", "--dense-below"}},
    {"dense_below_beyond_64_bits",
     {"--dense-below", "9223372036854775808"},
     {"9223372036854775808"}},
    {"correction_negative", {"--cache-correction", "-32"}, {"-32"}},
    {"temperature_nan", {"--temperature", "nan"}, {"--temperature", "nan", "at least 0"}},
    {"temperature_inf", {"--temperature", "inf"}, {"inf", "finite"}},
    {"temperature_huge", {"--temperature", "1e999"}, {"1e999"}},
    {"temperature_negative", {"--temperature", "-0.5"}, {"-0.5", "at least 0"}},
    {"top_p_nan", {"--top-p", "nan"}, {"nan", "0 and 1"}},
    {"top_p_large", {"--top-p", "1.0001"}, {"1.0001"}},
    {"min_p_negative", {"--min-p", "-1"}, {"-1"}},
    {"top_k_negative", {"--top-k", "-1"}, {"-1"}},
    {"penalty_zero", {"--repeat-penalty", "0"}, {"--repeat-penalty", "above 0"}},
    {"penalty_nan", {"--repeat-penalty", "nan"}, {"nan"}},
    {"max_tokens_negative", {"--max-tokens", "-1"}, {"-1"}},
    {"seed_negative", {"--seed", "-1"}, {"-1", "18446744073709551615"}},
    {"seed_huge", {"--seed", "18446744073709551616"}, {"18446744073709551616"}},
    {"seed_word", {"--seed", "lucky"}, {"lucky"}},
    {"threads_negative", {"--threads", "-1"}, {"-1"}},
    {"threads_many", {"--threads", "100000"}, {"100000", "1024"}},
    {"device_unknown", {"--device", "tpu"}, {"tpu"}},
    {"device_cuda", {"--device", "cuda"}, {"device cuda"}},
    {"log_level", {"--log-level", "loud"}, {"loud"}},
    {"kv_dtype", {"--kv-dtype", "f64"}, {"f64"}},
    {"kv_fp8", {"--kv-dtype", "fp8"}, {"fp8", "CUDA", "bf16"}},
    {"cache_huge",
     {"--max-cache-tokens", "9223372036854775807"},
     {"9223372036854775807", "2147483647"}},
    {"cache_terabytes", {"--max-cache-tokens", "1000000000000"}, {"1000000000000", "2147483647"}},
    {"chunk_zero", {"--prefill-chunk", "0"}, {"--prefill-chunk", "1 and 65536"}},
    {"chunk_huge", {"--prefill-chunk", "65537"}, {"65537", "65536"}},
    {"layers_words", {"--policy", "layer-shared", "--layers", "a,b"}, {"--layers"}},
    {"layers_outside", {"--policy", "layer-shared", "--layers", "2,99"}, {"99", "0 to 5"}},
    {"layers_negative", {"--policy", "layer-shared", "--layers", "-1"}, {"-1"}},
    {"control_characters", {"--heads", "a\x1b[31m\nb"}, {"a\\x1b[31m\\x0ab"}},
    {"system_without_messages", {"--system", "Be brief."}, {"--system", "--template or --chat"}},
    {"ids_and_template", {"--token-ids", "ids", "--template"}, {"--template", "--token-ids"}},
    {"chat_and_json", {"--chat", "--json"}, {"--chat", "excludes"}},
    {"chat_and_prompt", {"--chat"}, {"--chat", "--prompt"}},
};

INSTANTIATE_TEST_SUITE_P(Run, BadFlagTest, testing::ValuesIn(kBadFlags),
                         [](const auto& info) { return std::string(info.param.name); });

class BadPromptTest : public FilesTest {};

TEST_F(BadPromptTest, CommandsMustBeNamed) {
  expect_failure({}, 2, {"subcommand"});
  expect_failure({"dance"}, 2, {"dance"});
  expect_failure({"run"}, 2, {"--model"});
  expect_failure({"score", "--model", "builtin:needle"}, 2, {"--text-file", "--token-ids"});
  expect_failure({"inspect"}, 2, {"--model", "--heads"});
  expect_failure({"tokenize"}, 2, {"subcommand"});
  expect_failure({"tokenize", "paint"}, 2, {"paint", "lycheedecode tokenize --help"});
  expect_failure({"tokenize", "encode", "--model", "builtin:needle"}, 2,
                 {"--text-file", "--jsonl"});
  expect_failure({"tokenize", "decode", "--model", "builtin:needle"}, 2, {"--token-ids"});
  expect_failure({"fetch"}, 2, {"smollm2"});
  expect_failure({"fetch", "nothing"}, 2, {"nothing", "smollm2"});
  expect_failure({"fetch", "hf:"}, 2, {"hf:"});
}

TEST_F(BadPromptTest, PromptsMustHoldSomething) {
  expect_failure(needle("run"), 2, {"prompt is empty"});
  expect_failure(needle("run", {"--prompt", ""}), 2, {"prompt is empty"});
  expect_failure(needle("run", {"--prompt-file", file("empty", "")}), 2, {"prompt is empty"});
  expect_failure(needle("run", {"--prompt", " \n "}), 2, {"prompt"});
  expect_failure(needle("run", {"--token-ids", file("none", "[]")}), 2, {"no tokens"});
  expect_failure(needle("run", {"--prompt-file", "-"}), 2, {"prompt is empty"});
  expect_failure(needle("run", {"--prompt", "the", "--token-ids", file("ids", "5")}), 2,
                 {"--token-ids", "not both"});
  expect_failure(needle("score", {"--text-file", path("empty")}), 2, {"no tokens"});
}

TEST_F(BadPromptTest, FilesMustBeReadable) {
  expect_failure(needle("run", {"--prompt-file", path("missing")}), 2, {"missing", "No such file"});
  expect_failure(needle("run", {"--prompt-file", path("")}), 2, {path(""), "folder"});
  expect_failure(needle("run", {"--token-ids", path("")}), 2, {"folder"});
  expect_failure(needle("score", {"--text-file", path("")}), 2, {"folder"});
  expect_failure({"tokenize", "encode", "--model", "builtin:needle", "--text-file", path("")}, 2,
                 {"folder"});
  expect_failure({"tokenize", "chat", "--model", "builtin:needle", "--messages", path("a\nb")}, 2,
                 {"a\\x0ab"});
}

TEST_F(BadPromptTest, TokenIdsMustBeTheModels) {
  const auto fails = [&](const std::string& text, const std::vector<std::string>& parts) {
    expect_failure({"run", "--model", tiny_model(), "--threads", "1", "--policy", "dense",
                    "--token-ids", file("ids", text)},
                   2, parts);
  };
  fails("1 2 96", {"96", "vocabulary of 96"});
  fails("[1, -1]", {"-1", "no token id"});
  fails("1 -1", {"-1", "no token id"});
  fails("1 99999999999999999999", {"ids", "byte 2"});
  fails("2147483648", {"2147483648"});
  fails("[18446744073709551615]", {"18446744073709551615"});
  fails("[1, 2", {"ids", "JSON"});
  fails("[1, \"2\"]", {"\"2\"", "entry 1"});
  fails("[1.5]", {"1.5"});
  fails("[1, [2]]", {"[2]"});
  fails("1, 2", {"byte 0"});
  fails("one", {"byte 0", "white space"});
  fails(std::string("1\0 2", 4), {"ids"});
  fails(std::string(100000, '['), {"64 deep"});
}

TEST_F(BadPromptTest, PromptsMustFit) {
  const std::vector<std::string> base = {"run", "--model", tiny_model(), "--threads", "1"};
  expect_failure(concat(base, {"--token-ids", ids_file(257)}), 2, {"257", "context of 256"});
  expect_failure(concat(base, {"--token-ids", ids_file(129), "--max-cache-tokens", "100"}), 2,
                 {"129", "128", "--max-cache-tokens"});
  const std::vector<std::string> score = {"score", "--model", tiny_model(), "--threads", "1"};
  expect_failure(concat(score, {"--token-ids", ids_file(300)}), 2, {"300", "context of 256"});
  expect_failure(concat(score, {"--token-ids", ids_file(300), "--decode-from", "5"}), 2,
                 {"299", "context of 256"});
  expect_failure(concat(score, {"--token-ids", ids_file(20), "--decode-from", "21"}), 2,
                 {"21", "20 tokens"});
  expect_failure(concat(score, {"--token-ids", ids_file(20), "--decode-from", "-1"}), 2, {"-1"});
  expect_failure(concat(score, {"--token-ids", ids_file(20), "--top-logprobs", "-1"}), 2, {"-1"});
}

// One page is the least there is; one token more than asked for is not an error.
TEST_F(BadPromptTest, SmallCachesWork) {
  const Json json = run_json(
      needle("run", {"--prompt", "The key is", "--max-cache-tokens", "1", "--max-tokens", "2"}));
  EXPECT_EQ(json["token_ids"].size(), 2U);
}

TEST_F(BadPromptTest, TextNeedsATokenizer) {
  const std::vector<std::string> base = {"--model", tiny_model(), "--prompt", "Hello"};
  expect_failure(concat({"run", "--policy", "dense"}, base), 2,
                 {"without a tokenizer", "token ids"});
  expect_failure({"tokenize", "encode", "--model", tiny_model(), "--text-file", file("t", "x")}, 2,
                 {"without tokenizer files"});
}

TEST_F(BadPromptTest, ChatsMustBeMessages) {
  const auto fails = [&](const std::string& text, const std::vector<std::string>& parts) {
    expect_failure(
        {"tokenize", "chat", "--model", text_model(), "--messages", file("m.json", text)}, 2,
        parts);
  };
  fails("{}", {"m.json", "array"});
  fails("[", {"m.json", "JSON"});
  fails("", {"m.json", "JSON"});
  fails("\xff\xfe", {"m.json", "JSON"});
  fails(std::string(100000, '['), {"64 deep"});
  const std::string messages = file("ok.json", R"([{"role": "user", "content": "x"}])");
  const auto fails_argument = [&](const std::string& argument,
                                  const std::vector<std::string>& parts) {
    expect_failure({"tokenize", "chat", "--model", text_model(), "--messages", messages,
                    "--template-arg", argument},
                   2, parts);
  };
  fails_argument("noequals", {"noequals", "name=json"});
  fails_argument("=1", {"=1"});
  fails_argument("x={", {"x={", "JSON"});
  expect_failure(
      {"tokenize", "encode", "--model", text_model(), "--jsonl", file("l", "\"a\"\n5\n")}, 2,
      {"entry 2", "no string"});
  expect_failure(
      {"tokenize", "encode", "--model", text_model(), "--jsonl", file("l", "\"a\"\n\"b\n")}, 2,
      {"line 2"});
  expect_failure({"tokenize", "decode", "--model", text_model(), "--token-ids", file("i", "[768]")},
                 2, {"768"});
}

}  // namespace
}  // namespace lychee::test
