// Precedence, policies, plans, help and exit codes: the same for every command.

#include <sys/wait.h>

#include <cstdlib>

#include "cli/program.h"
#include "lychee/head_plan.h"

namespace lychee::test {
namespace {

class OptionsTest : public FilesTest {
 protected:
  [[nodiscard]] std::vector<std::string> score(const std::vector<std::string>& more) const {
    return concat({"score", "--model", tiny_model(), "--threads", "1", "--exact", "--token-ids",
                   ids_file(100), "--decode-from", "90"},
                  more);
  }
  // A plan that brings decoding options of its own.
  [[nodiscard]] std::string plan_folder() const {
    HeadPlan plan(3, 2);
    plan.selection = Selection{.mode = SelectMode::kMass, .budget = 40, .sink = 6, .recent = 12};
    plan.selection->mass = 0.5;
    plan.cache_correction = 4;
    save_head_plan(plan, path("plan"), {3, 4, 2, 16}, "tiny", "count");
    return path("plan");
  }
};

TEST_F(OptionsTest, EveryPolicyRuns) {
  const Json dense = run_json(score({"--policy", "dense"}));
  EXPECT_EQ(dense["kv_read"], 1.0);
  EXPECT_TRUE(dense["options"]["heads"].is_null());
  // Layers 0 to 2 of three are dense in layer-shared: layers 1 and 2 read layer 0's set here.
  const std::vector<std::vector<std::string>> policies = {{"hybrid", "--heads", "uniform:3"},
                                                          {"duo", "--heads", "uniform:3"},
                                                          {"streaming"},
                                                          {"page-bound"},
                                                          {"layer-shared", "--layers", "0"}};
  for (const std::vector<std::string>& policy : policies) {
    SCOPED_TRACE(policy[0]);
    std::vector<std::string> arguments = concat({"--policy"}, policy);
    const Json json =
        run_json(score(concat(concat(arguments, {"--budget", "32", "--sink", "4", "--recent", "8"}),
                              {"--compare-dense"})));
    EXPECT_EQ(json["options"]["policy"], policy[0]);
    EXPECT_LT(json["kv_read"].get<double>(), 0.9);
    EXPECT_GT(json["mean_kl"].get<double>(), 0);
    EXPECT_NE(json["logprobs"], dense["logprobs"]);
  }
}

TEST_F(OptionsTest, EverySelectModeRuns) {
  for (const std::vector<std::string>& mode : std::vector<std::vector<std::string>>{
           {"topk", "--budget", "24"},
           {"ratio", "--select-ratio", "0.3"},
           {"mass", "--budget", "40", "--select-mass", "0.4"},
           {"threshold", "--budget", "40", "--select-threshold", "0.02"}}) {
    SCOPED_TRACE(mode[0]);
    const Json json = run_json(score(
        concat(concat({"--heads", "uniform:2", "--sink", "4", "--recent", "8", "--select"}, mode),
               {"--compare-dense"})));
    EXPECT_EQ(json["options"]["select"], mode[0]);
    EXPECT_LT(json["kv_read"].get<double>(), 0.9);
  }
  const Json block =
      run_json(concat({"score", "--model", tiny_model(), "--threads", "1", "--token-ids",
                       ids_file(250), "--decode-from", "240", "--heads", "uniform:2"},
                      {"--select", "block", "--budget", "192", "--sink", "4", "--recent", "8"}));
  EXPECT_LT(block["kv_read"].get<double>(), 0.95);
}

TEST_F(OptionsTest, CommandLineGoesBeforePlanBeforeDefault) {
  const Json defaults = run_json(score({"--heads", "uniform:3"}))["options"];
  EXPECT_EQ(defaults["policy"], "hybrid");
  EXPECT_EQ(defaults["select"], "topk");
  EXPECT_EQ(defaults["budget"], 4096);
  EXPECT_EQ(defaults["cache_correction"], 0);
  const Json planned = run_json(score({"--heads", plan_folder()}))["options"];
  EXPECT_EQ(planned["select"], "mass");
  EXPECT_EQ(planned["budget"], 40);
  EXPECT_EQ(planned["sink"], 6);
  EXPECT_EQ(planned["recent"], 12);
  EXPECT_EQ(planned["select_mass"], 0.5);
  EXPECT_EQ(planned["cache_correction"], 4);
  const Json given =
      run_json(score({"--heads", plan_folder(), "--budget", "50", "--select", "topk", "--recent",
                      "9", "--cache-correction", "0", "--policy", "duo"}))["options"];
  EXPECT_EQ(given["policy"], "duo");
  EXPECT_EQ(given["select"], "topk");
  EXPECT_EQ(given["budget"], 50);
  EXPECT_EQ(given["sink"], 6);
  EXPECT_EQ(given["recent"], 9);
  EXPECT_EQ(given["cache_correction"], 0);
}

TEST_F(OptionsTest, OptionsShapeTheResult) {
  const auto log_probs = [&](const std::vector<std::string>& more) {
    return run_json(score(concat({"--heads", "uniform:2", "--sink", "4", "--recent", "8"}, more)));
  };
  const Json small = log_probs({"--budget", "16"});
  const Json larger = log_probs({"--budget", "40"});
  EXPECT_NE(small["logprobs"], larger["logprobs"]);
  EXPECT_LT(small["kv_read"].get<double>(), larger["kv_read"].get<double>());
  const Json below = log_probs({"--budget", "16", "--dense-below", "95"});
  EXPECT_EQ(below["dense_steps"], 5);
  EXPECT_EQ(below["options"]["dense_below"], 95);
  EXPECT_EQ(log_probs({"--budget", "100"})["kv_read"], 1.0);
  EXPECT_EQ(log_probs({"--budget", "100", "--kv-dtype", "f16"})["options"]["kv_dtype"], "f16");
}

// Retrieval beyond the budget needs the right heads, and the test can fail.
TEST_F(OptionsTest, NeedleNeedsItsPlan) {
  std::string text;
  for (int i = 0; i < 100; ++i) {
    text += i == 30 ? " The pass key is 7 1 8 2 ." : "";
    text += " The grass is green . The sky is blue . The sun is yellow .";
  }
  text += " What is the pass key ? The pass key is";
  const std::string prompt = file("prompt", text);
  const auto answer = [&](const std::vector<std::string>& more) {
    return run_json(
        needle("run", concat({"--prompt-file", prompt, "--max-tokens", "4", "--dense-below", "0",
                              "--budget", "128", "--sink", "16", "--recent", "64"},
                             more)));
  };
  EXPECT_EQ(answer({})["text"], "7 1 8 2");
  EXPECT_EQ(answer({"--heads", "builtin"})["text"], "7 1 8 2");
  EXPECT_LT(answer({})["kv_read"].get<double>(), 0.5);
  EXPECT_NE(answer({"--heads", "builtin:swapped"})["text"], "7 1 8 2");
  EXPECT_NE(answer({"--policy", "streaming"})["text"], "7 1 8 2");
  EXPECT_EQ(answer({"--policy", "dense"})["text"], "7 1 8 2");
}

TEST_F(OptionsTest, PoliciesAndPlansMustFit) {
  const std::string ids = ids_file(20);
  const auto fails = [&](const std::vector<std::string>& more,
                         const std::vector<std::string>& parts) {
    expect_failure(
        concat({"run", "--model", tiny_model(), "--threads", "1", "--token-ids", ids}, more), 2,
        parts);
  };
  fails({"--policy", "hybrid"}, {"hybrid", "needs a head plan", "--heads"});
  fails({"--policy", "duo"}, {"duo", "needs a head plan"});
  fails({"--policy", "streaming", "--heads", "uniform:3"}, {"streaming", "takes no head plan"});
  fails({"--policy", "magic"}, {"--policy", "magic"});
  fails({"--heads", "builtin"}, {"no plan of its own"});
  fails({"--heads", "uniform:99"}, {"99", "between 2", "6"});
  fails({"--heads", "uniform:1"}, {"1", "between 2"});
  fails({"--heads", "uniform:x"}, {"uniform:x"});
  fails({"--heads", "random:3"}, {"random:3", "seed"});
  fails({"--heads", path("missing")}, {"missing"});
  fails({"--policy", "layer-shared", "--layers", "99"}, {"99", "0 to 2"});
  fails({"--policy", "dense", "--layers", "1"}, {"layer-shared"});
}

TEST_F(OptionsTest, HelpOfEveryCommand) {
  for (const std::vector<std::string>& command :
       std::vector<std::vector<std::string>>{{},
                                             {"run"},
                                             {"score"},
                                             {"inspect"},
                                             {"fetch"},
                                             {"tokenize"},
                                             {"tokenize", "encode"},
                                             {"tokenize", "decode"},
                                             {"tokenize", "chat"}}) {
    const ProgramResult result = run_program(concat(command, {"--help"}));
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_EQ(result.err, "");
    EXPECT_THAT(result.out, testing::HasSubstr("--help"));
    if (command.size() < 2) {
      EXPECT_THAT(result.out, testing::HasSubstr("Example"));
    }
  }
  const ProgramResult version = run_program({"--version"});
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_THAT(version.out, testing::StartsWith("lycheedecode "));
}

// Where stdout cannot be written, the answer is lost: our side.
TEST_F(OptionsTest, FullStdoutIsAnError) {
  const std::string command =
      std::string(LYCHEE_PROGRAM) + " fetch --list >/dev/full 2>" + path("err");
  const int status = std::system(command.c_str());
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 1);
}

}  // namespace
}  // namespace lychee::test
