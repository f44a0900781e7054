#include <chrono>
#include <csignal>
#include <filesystem>
#include <map>
#include <sstream>

#include "cli/program.h"
#include "support/random.h"

namespace lychee::test {
namespace {

class EvalTest : public FilesTest {
 protected:
  static std::vector<std::string> passkey(const std::vector<std::string>& more) {
    return concat({"eval", "passkey", "--model", "builtin:needle", "--threads", "1", "--lengths",
                   "600", "--samples", "3", "--budgets", "128"},
                  more);
  }
};

TEST_F(EvalTest, RowsHaveEveryField) {
  const Json json = run_json(
      passkey({"--policies", "dense,hybrid,streaming", "--heads", "builtin,builtin:swapped"}));
  ASSERT_EQ(json["rows"].size(), 4U);
  for (const Json& row : json["rows"]) {
    EXPECT_EQ(row["task"], "passkey");
    EXPECT_EQ(row["length"], 600);
    EXPECT_EQ(row["samples"], 3);
    EXPECT_TRUE(row["policy"].is_string());
    EXPECT_TRUE(row["budget"].is_number_integer() || row["budget"].is_null());
    for (const char* key : {"score", "ci_low", "ci_high", "kv_read", "tokens_per_s"}) {
      EXPECT_TRUE(row[key].is_number()) << key;
    }
    EXPECT_LE(row["ci_low"].get<double>(), row["score"].get<double>() + 1e-12);
    EXPECT_GE(row["ci_high"].get<double>(), row["score"].get<double>() - 1e-12);
  }
  EXPECT_EQ(json["rows"][0]["policy"], "dense");
  EXPECT_EQ(json["rows"][0]["score"], 1.0);
  EXPECT_EQ(json["rows"][1]["heads"], "builtin");
  EXPECT_EQ(json["rows"][1]["score"], 1.0);
  EXPECT_LT(json["rows"][1]["kv_read"].get<double>(), 0.6);
  EXPECT_EQ(json["rows"][2]["heads"], "builtin:swapped");
  EXPECT_LT(json["rows"][2]["score"].get<double>(), 1);
  for (const char* key : {"select", "dense_below", "kv_dtype", "exact", "seed", "threads", "device",
                          "model", "model_sha256", "lengths", "samples"}) {
    EXPECT_TRUE(json["options"].contains(key)) << key;
  }
}

TEST_F(EvalTest, TasksMayFollowLists) {
  const Json json = run_json({"eval", "--model", "builtin:needle", "--threads", "1", "--policies",
                              "dense,streaming", "--samples", "1", "--budgets", "96,128",
                              "--lengths", "300,400", "passkey"});
  EXPECT_EQ(json["rows"].size(), 6U);
  for (const Json& row : json["rows"]) {
    EXPECT_EQ(row["task"], "passkey");
  }
}

TEST_F(EvalTest, ResumesOnlyItsOwnResults) {
  const Json first = run_json(passkey({"--out", path("out")}));
  const Json second = run_json(passkey({"--out", path("out"), "--resume"}));
  EXPECT_EQ(second["rows"], first["rows"]);
  expect_failure(passkey({"--resume"}), 2, {"--resume", "--out"});
  const ProgramResult other =
      run_program(passkey({"--out", path("out"), "--resume", "--seed", "9"}));
  EXPECT_EQ(other.exit_code, 2);
}

// What a line of results says, but for times and who prefilled the prompt.
std::vector<Json> lasting_results(const std::string& folder) {
  std::vector<Json> results;
  std::istringstream lines(bytes_of(folder + "/results.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    results.push_back(Json::parse(line));
    for (const char* name : {"prefill_seconds", "prefilled_tokens", "decode_seconds", "seconds"}) {
      results.back().erase(name);
    }
  }
  return results;
}

// But for their speed.
void expect_same_rows(const Json& actual, const Json& expected) {
  ASSERT_EQ(actual["rows"].size(), expected["rows"].size());
  for (size_t i = 0; i < expected["rows"].size(); ++i) {
    Json row = actual["rows"][i];
    row["tokens_per_s"] = expected["rows"][i]["tokens_per_s"];
    EXPECT_EQ(row, expected["rows"][i]);
  }
}

TEST_F(EvalTest, KilledAndResumedGivesTheSameRows) {
  const auto arguments = [&](const std::string& out) {
    return needle("eval", {"passkey", "needle", "--lengths", "1000", "--samples", "5",
                           "--temperature", "0.5", "--policies", "dense,streaming", "--budgets",
                           "128", "--out", path(out), "--resume"});
  };
  const Json whole = run_json(arguments("whole"));
  stop_program(arguments("killed"), SIGKILL, path("killed/options.json"), 1);
  for (const int lines : {1, 2, 7, 10}) {
    stop_program(arguments("killed"), SIGKILL, path("killed/results.jsonl"), lines);
  }
  ASSERT_EQ(whole["rows"].size(), 4U);
  expect_same_rows(run_json(arguments("killed")), whole);
  EXPECT_EQ(lasting_results(path("killed")), lasting_results(path("whole")));
}

TEST_F(EvalTest, ASignalStopsItWithItsRowsAndIsSeenByTheShell) {
  const auto arguments = needle("eval", {"passkey", "--lengths", "1000", "--samples", "1000",
                                         "--policies", "dense", "--out", path("stopped")});
  const ProgramResult result = stop_program(arguments, SIGTERM, path("stopped/results.jsonl"), 2);
  EXPECT_EQ(result.exit_code, 128 + SIGTERM);
  EXPECT_THAT(result.err, testing::HasSubstr("--resume goes on"));
  EXPECT_THAT(result.err, testing::HasSubstr(path("stopped")));
  EXPECT_THAT(result.out, testing::HasSubstr("passkey"));
  EXPECT_TRUE(std::filesystem::exists(path("stopped/rows.json")));
}

// A kill leaves whole lines; a machine that goes down, any part of what was written.
TEST_F(EvalTest, KilledAtAnyMomentAndResumedGivesTheSameRows) {
  const auto arguments = [&](const std::string& out) {
    return std::vector<std::string>{
        "eval",
        "passkey",
        "needle",
        "--model",
        "builtin:needle?layers=4&kv_heads=2&layer=2&head=1&distractors=1",
        "--threads",
        "1",
        "--lengths",
        "400",
        "--samples",
        "5",
        "--temperature",
        "0.5",
        "--policies",
        "dense,streaming",
        "--budgets",
        "128",
        "--out",
        path(out),
        "--resume"};
  };
  const auto start = std::chrono::steady_clock::now();
  const Json whole = run_json(arguments("whole"));
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - start);
  const std::string results = path("killed/results.jsonl");
  const auto all = static_cast<int64_t>(std::filesystem::file_size(path("whole/results.jsonl")));
  constexpr int kRounds = 8;
  int killed = 0;
  Random random(11);
  for (int round = 0; round < kRounds; ++round) {
    // Later rounds stop later; the last leave some lines to do, if the machine is as fast as
    // before.
    const int64_t bytes = random.integer(0, all * (round + 1) / (kRounds + 2));
    const std::chrono::microseconds delay(random.integer(0, took.count() / 8));
    SCOPED_TRACE(testing::Message() << bytes << " bytes and " << delay.count() << " us");
    killed += stop_program_at_byte(arguments("killed"), SIGKILL, results,
                                   static_cast<uintmax_t>(bytes), delay)
                  ? 1
                  : 0;
    if (round % 2 == 1 && std::filesystem::exists(results)) {
      const auto left = static_cast<int64_t>(std::filesystem::file_size(results));
      std::filesystem::resize_file(results, static_cast<uintmax_t>(random.integer(0, left)));
    }
  }
  EXPECT_GE(killed, kRounds / 2);
  expect_same_rows(run_json(arguments("killed")), whole);
  EXPECT_EQ(lasting_results(path("killed")), lasting_results(path("whole")));
}

TEST_F(EvalTest, WritesTablesAndSharesPrompts) {
  const Json json =
      run_json(concat({"eval", "needle", "vt", "--model", "builtin:needle", "--threads", "1",
                       "--lengths", "500", "--samples", "2", "--policies", "dense,streaming",
                       "--budgets", "128", "--together", "--out", path("out")},
                      {}));
  ASSERT_EQ(json["rows"].size(), 4U);
  EXPECT_EQ(json["rows"][0]["task"], "needle");
  EXPECT_EQ(json["rows"][0]["score"], 1.0) << "the built-in model finds a needle in filler";
  EXPECT_EQ(json["rows"][0]["difference"], 0.0);
  EXPECT_EQ(json["totals"]["prompts"], 4);
  EXPECT_EQ(json["totals"]["prefills"], 4);
  EXPECT_EQ(json["totals"]["answers"], 8);
  const double timed = json["totals"]["prefill_seconds"].get<double>() +
                       json["totals"]["decode_seconds"].get<double>();
  EXPECT_GT(timed, 0);
  EXPECT_GE(json["totals"]["seconds"].get<double>(), timed);
  EXPECT_NEAR(json["totals"]["overhead"].get<double>(),
              json["totals"]["seconds"].get<double>() / timed, 1e-9);
  EXPECT_EQ(json["totals"]["prefilled_tokens"], json["totals"]["shared_tokens"]);
  EXPECT_EQ(Json::parse(bytes_of(path("out/rows.json")))["rows"], json["rows"]);
  EXPECT_TRUE(bytes_of(path("out/rows.csv")).starts_with("task,length,policy,heads,budget,"));
  EXPECT_NE(bytes_of(path("out/report.html")).find("4 prompts took 4 prefills"), std::string::npos);
}

TEST_F(EvalTest, WhatIsNamedTwiceIsAskedOnce) {
  const Json json =
      run_json(needle("eval", {"passkey", "passkey", "--lengths", "600,600", "--samples", "2",
                               "--policies", "streaming,streaming", "--budgets", "128,128"}));
  ASSERT_EQ(json["rows"].size(), 1U);
  EXPECT_EQ(json["rows"][0]["samples"], 2);
  EXPECT_EQ(json["totals"]["answers"], 2);
}

TEST_F(EvalTest, PrintsEveryFigureOfATask) {
  const ProgramResult result =
      run_program({"eval", "perplexity", "--model", "builtin:needle", "--threads", "1", "--lengths",
                   "300", "--samples", "1", "--decode-tokens", "8", "--policies", "dense"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, testing::ContainsRegex(
                              "perplexity .* dense  *1 .* agreement 1  kl 0  nll [0-9.]+\n"));
}

// Rows by task and policy.
std::map<std::string, Json> rows_by_name(const Json& json) {
  std::map<std::string, Json> rows;
  for (const Json& row : json["rows"]) {
    rows[row["task"].get<std::string>() + " " + row["policy"].get<std::string>()] = row;
  }
  return rows;
}

// A key between filler, and the beginning of a sentence that the built-in model ends with the key.
std::string asked_for(const std::string& key) {
  std::string text;
  for (int i = 0; i < 24; ++i) {
    text += i == 6 ? "The pass key is " + key + " . " : "The grass is green . The sky is blue . ";
  }
  return text + "The pass key is";
}

TEST_F(EvalTest, ScoresFilesOfLongbench) {
  Json line = {{"dataset", "trec"},
               {"context", asked_for("3 1 4")},
               {"input", "The pass key is"},
               {"answers", {"3 1 4"}},
               {"all_classes", {"3 1 4", "2 7 1"}}};
  std::string lines = line.dump() + "\n";
  line["context"] = asked_for("2 7 1");
  line["answers"] = {"2 7 1"};
  lines += "\n" + line.dump() + "\n";
  line["dataset"] = "triviaqa";
  line["all_classes"] = nullptr;
  const Json json = run_json(
      needle("eval", {"longbench", "--data", file("data.jsonl", lines + line.dump()), "--lengths",
                      "600", "--policies", "dense,streaming", "--budgets", "128"}));
  auto rows = rows_by_name(json);
  ASSERT_EQ(rows.size(), 4U);
  EXPECT_EQ(rows["trec dense"]["samples"], 2) << "all there are";
  EXPECT_EQ(rows["trec dense"]["score"], 1.0);
  EXPECT_EQ(rows["trec streaming"]["score"], 0.0) << "the key is outside its window";
  EXPECT_EQ(rows["triviaqa dense"]["samples"], 1);
  EXPECT_GT(rows["triviaqa dense"]["score"].get<double>(), 0.1);
  EXPECT_LT(rows["triviaqa streaming"]["score"].get<double>(), 0.1) << "words of the filler";
  EXPECT_EQ(json["totals"]["bad_lines"], 0);
}

TEST_F(EvalTest, ScoresFilesOfMathWithAttempts) {
  const std::string lines =
      Json({{"id", 1}, {"problem", asked_for("8 7")}, {"answer", "007"}}).dump() + "\n" +
      Json({{"id", 2}, {"problem", asked_for("8 7")}, {"answer", 9}}).dump() + "\n";
  const Json json =
      run_json(needle("eval", {"math", "--data", file("aime.jsonl", lines), "--lengths", "400",
                               "--attempts", "3", "--temperature", "0.01", "--policies",
                               "dense,streaming", "--budgets", "128", "--out", path("out")}));
  auto rows = rows_by_name(json);
  EXPECT_EQ(rows["aime dense"]["score"], 0.5) << "one of two problems";
  EXPECT_EQ(rows["aime streaming"]["score"], 0.0) << "prefill alone, which is dense, sees the key";
  std::istringstream results(bytes_of(path("out/results.jsonl")));
  for (std::string line; std::getline(results, line);) {
    EXPECT_EQ(Json::parse(line)["texts"].size(), 3U) << "an answer for each attempt";
  }
}

TEST_F(EvalTest, TakesTheExamples) {
  const auto tasks_of = [&](const std::string& group, const std::string& model) {
    const Json json =
        run_json({"eval", group, "--model", model, "--threads", "1", "--lengths", "600", "--data",
                  LYCHEE_SOURCE_DIR "/examples/" + group + ".jsonl"});
    EXPECT_EQ(json["totals"]["bad_lines"], 0);
    std::map<std::string, int> samples;
    for (const Json& row : json["rows"]) {
      samples[row["task"]] = row["samples"];
    }
    return samples;
  };
  const std::string model = text_model();
  EXPECT_THAT(
      tasks_of("longbench", model),
      testing::UnorderedElementsAre(testing::Pair("hotpotqa", 1), testing::Pair("trec", 1),
                                    testing::Pair("samsum", 1), testing::Pair("passage_count", 1),
                                    testing::Pair("lcc", 1), testing::Pair("multifieldqa_zh", 1),
                                    testing::Pair("passage_retrieval_zh", 1)));
  EXPECT_THAT(
      tasks_of("math", model),
      testing::UnorderedElementsAre(testing::Pair("aime", 2), testing::Pair("olympiadbench", 3)));
}

TEST_F(EvalTest, NamesOrCountsBadLines) {
  const std::string good =
      R"({"dataset": "lcc", "context": "x = 1", "input": "", "answers": ["y = x"]})";
  const std::string data = file("data.jsonl", good + "\n{\"dataset\": \"lcc\"}\n" + good +
                                                  "\n[1]\n" + R"({"dataset": "squad"})" + "\n");
  const auto longbench = [&](const std::string& name, const std::vector<std::string>& more = {}) {
    return needle("eval", concat({"longbench", "--data", name, "--lengths", "200"}, more));
  };
  expect_failure(longbench(data), 2, {"data.jsonl, line 4", "--skip-bad"});
  expect_failure(longbench(file("b.jsonl", good + "\n{\"dataset\": \"lcc\"}")), 2,
                 {"b.jsonl, line 2", "context"});
  const Json json = run_json(longbench(data, {"--skip-bad"}));
  EXPECT_EQ(json["totals"]["bad_lines"], 3);
  EXPECT_THAT(run_program(longbench(data, {"--skip-bad"})).err,
              testing::HasSubstr("left out 3 of --data's lines, the first since " + data +
                                 ", line 4: no JSON object"));
  EXPECT_EQ(json["rows"][0]["samples"], 2);
  expect_failure(longbench(path("nowhere.jsonl")), 2, {"nowhere.jsonl"});
  expect_failure(needle("eval", {"longbench"}), 2, {"--data"});
  expect_failure(longbench(file("empty.jsonl", "\n")), 2, {"longbench: no line of --data"});
  expect_failure(longbench(file("bad.jsonl", "{\n"), {"--skip-bad"}), 2, {"no line of --data"});
  expect_failure(
      needle("eval", {"math", "--data", file("m.jsonl", R"({"problem": "p", "answer": "1/2"})")}),
      2, {"m.jsonl, line 1", "1/2"});
  expect_failure(longbench(file("zh.jsonl", R"({"dataset": "vcsum", "context": "", "input": "",)"
                                            R"( "answers": ["a"]})"),
                           {"--words", path("nowhere")}),
                 2, {"nowhere/dict.txt", "python3-jieba"});
}

TEST_F(EvalTest, RefusesFilesThatAreNoText) {
  const auto refused = [&](const std::string& text, const char* part) {
    expect_failure(needle("eval", {"needle", "--lengths", "300", "--text-file", file("t", text)}),
                   2, {"/t ", part});
  };
  refused("", "has no words");
  refused(" \n", "has no words");
  refused(std::string("ELF\0 and more.", 14), "is no text");
}

TEST_F(EvalTest, LayersAreForThePolicyOfAListThatTakesThem) {
  const Json json =
      run_json(needle("eval", {"passkey", "--lengths", "300", "--samples", "1", "--policies",
                               "dense,layer-shared", "--layers", "0,3"}));
  EXPECT_EQ(json["options"]["layers"], Json::parse("[null, [0, 3]]"));
  EXPECT_EQ(json["rows"].size(), 2U);
}

TEST_F(EvalTest, AFullDiskIsAnError) {
  const auto arguments = needle("eval", {"passkey", "--lengths", "300", "--samples", "1",
                                         "--policies", "dense", "--out", path("full")});
  std::filesystem::create_directories(path("full"));
  std::filesystem::create_symlink("/dev/full", path("full/results.jsonl"));
  expect_failure(arguments, 1, {"cannot write", "full/results.jsonl"});
}

TEST_F(EvalTest, RefusesImpossibleTables) {
  const auto refused = [](const std::vector<std::string>& more,
                          const std::vector<std::string>& parts) {
    expect_failure(concat({"eval", "passkey", "--model", "builtin:needle", "--threads", "1"}, more),
                   2, parts);
  };
  refused({"--lengths", "0"}, {"--lengths", "'0'"});
  refused({"--lengths", "-5"}, {"-5"});
  refused({"--lengths", "9223372036854775807"}, {"9223372036854775807"});
  refused({"--lengths", "99999999999999999999"}, {"99999999999999999999"});
  refused({"--lengths", "4"}, {"4"});
  refused({"--samples", "0"}, {"--samples"});
  refused({"--policies", "magic"}, {"magic"});
  refused({"--budgets", "0"}, {"--budgets"});
  expect_failure({"eval"}, 2, {"TASK"});
  expect_failure({"eval", "trivia", "--model", "builtin:needle"}, 2, {"trivia"});
  expect_failure({"eval", "passkey", "--model", tiny_model(), "--lengths", "100"}, 2,
                 {"tokenizer"});
}

}  // namespace
}  // namespace lychee::test
