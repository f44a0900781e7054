#include <csignal>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>

#include "cli/program.h"

namespace lychee::test {
namespace {

std::string text_of(const std::string& path) {
  std::ifstream stream(path);
  return {std::istreambuf_iterator<char>(stream), {}};
}

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
  std::istringstream lines(text_of(folder + "/results.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    results.push_back(Json::parse(line));
    for (const char* name : {"prefill_seconds", "prefilled_tokens", "decode_seconds", "seconds"}) {
      results.back().erase(name);
    }
  }
  return results;
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
  const Json resumed = run_json(arguments("killed"));
  EXPECT_EQ(lasting_results(path("killed")), lasting_results(path("whole")));
  ASSERT_EQ(resumed["rows"].size(), 4U);
  for (size_t i = 0; i < 4; ++i) {
    Json row = resumed["rows"][i];
    row["tokens_per_s"] = whole["rows"][i]["tokens_per_s"];
    EXPECT_EQ(row, whole["rows"][i]);
  }
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
  EXPECT_EQ(Json::parse(text_of(path("out/rows.json")))["rows"], json["rows"]);
  EXPECT_TRUE(text_of(path("out/rows.csv")).starts_with("task,length,policy,heads,budget,"));
  EXPECT_NE(text_of(path("out/report.html")).find("4 prompts took 4 prefills"), std::string::npos);
}

TEST_F(EvalTest, PrintsEveryFigureOfATask) {
  const ProgramResult result =
      run_program({"eval", "perplexity", "--model", "builtin:needle", "--threads", "1", "--lengths",
                   "300", "--samples", "1", "--decode-tokens", "8", "--policies", "dense"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out,
              testing::ContainsRegex("perplexity .* dense .* agreement 1  kl 0  nll [0-9.]+\n"));
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
  std::istringstream results(text_of(path("out/results.jsonl")));
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
  EXPECT_EQ(json["rows"][0]["samples"], 2);
  expect_failure(longbench(path("nowhere.jsonl")), 2, {"nowhere.jsonl"});
  expect_failure(needle("eval", {"longbench"}), 2, {"--data"});
  expect_failure(
      needle("eval", {"math", "--data", file("m.jsonl", R"({"problem": "p", "answer": "1/2"})")}),
      2, {"m.jsonl, line 1", "1/2"});
  expect_failure(longbench(file("zh.jsonl", R"({"dataset": "vcsum", "context": "", "input": "",)"
                                            R"( "answers": ["a"]})"),
                           {"--words", path("nowhere")}),
                 2, {"nowhere/dict.txt", "python3-jieba"});
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
