// Every flag of eval that results depend on stands in options.json, and a run is not resumed with
// another value of it.

#include <algorithm>
#include <fstream>
#include <map>
#include <regex>
#include <set>

#include "cli/program.h"
#include "lychee/head_plan.h"

namespace lychee::test {
namespace {

// Flags that change no result: what is printed where, what may be read, what may be stored.
// --device names where, and options.json says so as well, but no second one may be at hand.
const std::set<std::string> kIndifferent = {
    "--help",   "--json",     "--log-level",        "--out",
    "--resume", "--skip-bad", "--max-cache-tokens", "--device",
};

struct Change {
  std::string option;  // of options.json
  std::string value;   // other than the default; "" for a flag without
};

class EvalFlagsTest : public FilesTest {
 protected:
  [[nodiscard]] std::map<std::string, Change> changes() const {
    std::map<std::string, Change> changes = {
        {"--model", {"model", "builtin:needle"}},
        {"--kv-dtype", {"kv_dtype", "f16"}},
        {"--weights", {"weights", "int8"}},
        {"--exact", {"exact", ""}},
        {"--prefill-chunk", {"prefill_chunk", "64"}},
        {"--seed", {"seed", "7"}},
        {"--threads", {"threads", "2"}},
        {"--policy", {"policy", "dense"}},
        {"--policies", {"policy", "dense,streaming"}},
        {"--heads", {"heads", "builtin:swapped"}},
        {"--budget", {"budget", "512"}},
        {"--budgets", {"budget", "512,1024"}},
        {"--cache-correction", {"cache_correction", "3"}},
        {"--cache-corrections", {"cache_correction", "0,3"}},
        {"--select", {"select", "block"}},
        {"--select-ratio", {"select_ratio", "0.25"}},
        {"--select-mass", {"select_mass", "0.25"}},
        {"--select-threshold", {"select_threshold", "0.25"}},
        {"--sink", {"sink", "9"}},
        {"--recent", {"recent", "9"}},
        {"--dense-below", {"dense_below", "9"}},
        {"--layers", {"layers", "0"}},
        {"--lengths", {"lengths", "151"}},
        {"--samples", {"samples", "2"}},
        {"--words", {"words", path("")}},
        {"--raw", {"raw", ""}},
        {"--decode-tokens", {"decode_tokens", "9"}},
        {"--attempts", {"attempts", "2"}},
        {"--temperature", {"temperature", "0.5"}},
        {"--top-p", {"top_p", "0.5"}},
        {"--phrases", {"phrases", "3"}},
        {"--phrase-words", {"phrase_words", "3"}},
        {"--together", {"together", ""}},
    };
    changes["--text-file"] = {"text_files", file("text.txt", "One sentence. Another one.")};
    changes["--data"] = {"data", file("data.jsonl", "{}\n")};
    changes["--squad"] = {
        "squad", file("squad.json", R"({"data": [{"paragraphs": [{"context": "A b.", "qas": [)"
                                    R"({"question": "Q?", "is_impossible": false,)"
                                    R"( "answers": [{"text": "b"}]}]}]}]})")};
    changes["--hotpotqa"] = {"hotpotqa",
                             file("hotpotqa.json", R"([{"question": "Who?", "answer": "Ann",)"
                                                   R"( "supporting_facts": [["T", 0]],)"
                                                   R"( "context": [["T", ["Ann did."]]]}])")};
    return changes;
  }

  // A run with `flag` of another value than it has by itself.
  [[nodiscard]] std::vector<std::string> run_with(const std::string& flag = "",
                                                  const std::string& value = "") const {
    std::map<std::string, std::string> flags = {
        {"--model", "builtin:needle?layers=4&kv_heads=2&layer=2&head=1&distractors=1"},
        {"--threads", "1"},
        {"--lengths", "150"},
        {"--samples", "1"},
        {"--policies", "dense,hybrid,layer-shared"},
        {"--out", path("out")}};
    if (flag == "--policy") {
      flags.erase("--policies");
    }
    if (!flag.empty()) {
      flags[flag] = value;
    }
    std::vector<std::string> arguments = {"eval", "passkey"};
    for (const auto& [name, text] : flags) {
      arguments.push_back(name);
      if (!text.empty()) {
        arguments.push_back(text);
      }
    }
    return arguments;
  }
};

TEST_F(EvalFlagsTest, EachIsKnownHere) {
  const std::string help = run_program({"eval", "--help"}).out;
  const auto known = changes();
  const std::regex flag("\n  (?:-h,)?(--[a-z-]+)");
  int count = 0;
  for (std::sregex_iterator it(help.begin(), help.end(), flag), end; it != end; ++it, ++count) {
    const std::string name = (*it)[1];
    EXPECT_TRUE(kIndifferent.contains(name) || known.contains(name))
        << name << ": say in this test whether results depend on it";
  }
  EXPECT_EQ(count, std::ssize(kIndifferent) + std::ssize(known));
}

TEST_F(EvalFlagsTest, ResultsAreNotResumedWithAnotherValue) {
  const Json first = run_json(run_with());
  for (const auto& [flag, change] : changes()) {
    SCOPED_TRACE(flag);
    EXPECT_TRUE(first["options"].contains(change.option));
    expect_failure(concat(run_with(flag, change.value), {"--resume"}), 2,
                   {"out/options.json holds results of other options: " + change.option + " was "});
  }
  EXPECT_EQ(run_json(concat(run_with(), {"--resume"}))["rows"], first["rows"]);
}

TEST_F(EvalFlagsTest, ResultsAreNotResumedWithAnotherTask) {
  static_cast<void>(run_json(run_with()));
  std::vector<std::string> arguments = concat(run_with(), {"--resume"});
  arguments[1] = "needle";
  expect_failure(arguments, 2, {"tasks was [\"passkey\"]"});
}

TEST_F(EvalFlagsTest, ResultsAreNotResumedWithAChangedFile) {
  const std::string text = file("text.txt", "One sentence. Another one.");
  static_cast<void>(run_json(run_with("--text-file", text)));
  static_cast<void>(file("text.txt", "Another sentence. And one."));
  expect_failure(concat(run_with("--text-file", text), {"--resume"}), 2,
                 {"files_sha256 was", "text.txt"});
}

TEST_F(EvalFlagsTest, ResultsAreNotResumedWithAChangedHeadPlan) {
  const auto save = [&](int retrieving_layer) {
    HeadPlan plan(4, 2);
    plan.set_role(retrieving_layer, 0, HeadRole::kRetrieval);
    const HeadPlanShape shape{.num_layers = 4, .num_q_heads = 2, .num_kv_heads = 2, .head_dim = 32};
    save_head_plan(plan, path("plan"), shape, "needle", "count");
  };
  save(1);
  const Json first = run_json(run_with("--heads", path("plan")));
  std::ifstream config(path("plan/lychee_config.json"));
  EXPECT_EQ(first["options"]["head_plans_sha256"][path("plan")],
            Json::parse(config)["roles_sha256"]);
  save(2);
  expect_failure(concat(run_with("--heads", path("plan")), {"--resume"}), 2,
                 {"head_plans_sha256 was"});
}

TEST_F(EvalFlagsTest, AListExcludesItsSingleValue) {
  for (const std::string name : {"--policy", "--budget", "--cache-correction"}) {
    const bool is_policy = name == "--policy";
    const std::string list = is_policy ? "--policies" : name + "s";
    const std::string value = is_policy ? "dense" : "512";
    expect_failure(needle("eval", {"passkey", name, value, list, value}), 2, {name, list});
  }
}

TEST_F(EvalFlagsTest, PhrasesAreAsManyAndAsLongAsAsked) {
  static_cast<void>(run_json(
      needle("eval", {"phrase", "--lengths", "400", "--samples", "1", "--policies", "dense",
                      "--phrases", "3", "--phrase-words", "5", "--out", path("out")})));
  std::ifstream stream(path("out/results.jsonl"));
  const Json result = Json::parse(stream);
  ASSERT_EQ(result["references"].size(), 3U);
  for (const Json& references : result["references"]) {
    const std::string phrase = references[0];
    EXPECT_EQ(std::count(phrase.begin(), phrase.end(), ' '), 4) << phrase;
  }
  expect_failure(needle("eval", {"phrase", "--phrases", "21"}), 2, {"--phrases", "21"});
  expect_failure(needle("eval", {"phrase", "--phrase-words", "0"}), 2, {"--phrase-words", "0"});
}

}  // namespace
}  // namespace lychee::test
