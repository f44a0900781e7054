// train-heads as a program: its folder, resuming after any end, and bad input.
#include <algorithm>
#include <csignal>
#include <filesystem>

#include "cli/program.h"
#include "tensor/device.h"

namespace lychee::test {
namespace {

namespace fs = std::filesystem;

class TrainHeadsTest : public FilesTest {
 protected:
  // Of training and of refinement alike.
  [[nodiscard]] std::vector<std::string> common_arguments(const std::string& out) const {
    return {"train-heads",
            "--model",
            "builtin:needle",
            "--threads",
            "1",
            "--data",
            "needle",
            "--context-min",
            "150",
            "--context-max",
            "180",
            "--budget",
            "48",
            "--sink",
            "4",
            "--recent",
            "12",
            "--out",
            path(out)};
  }
  [[nodiscard]] std::vector<std::string> arguments(
      const std::string& out, const std::vector<std::string>& more = {}) const {
    return concat(
        concat(common_arguments(out), {"--steps", "12", "--context-reuse", "2",
                                       "--checkpoint-every", "3", "--retrieval-heads", "5"}),
        more);
  }
  // Sends `signal` when the program has logged `steps` steps.
  ProgramResult stop_after(const std::string& out, int steps, int signal) const {
    return stop_program(arguments(out), signal, path(out) + "/log.csv", steps + 1);
  }
  // The report without the times, which no two runs share, and a call without a step has not.
  [[nodiscard]] static std::string lasting_part(const std::string& report) {
    const size_t begin = report.find("<h2>Seconds per step</h2>");
    if (begin == std::string::npos) {
      return report;
    }
    const std::string table_end = "</table>\n";
    const size_t end = report.find(table_end, begin);
    EXPECT_NE(end, std::string::npos);
    return report.substr(0, begin) + report.substr(end + table_end.size());
  }
  void expect_same_run(const std::string& a, const std::string& b) const {
    for (const char* name : {"checkpoint.bin", "head_roles.tsv", "head_scores.tsv",
                             "head_params.safetensors", "lychee_config.json"}) {
      EXPECT_EQ(bytes_of(path(a) + "/" + name), bytes_of(path(b) + "/" + name)) << name;
    }
    EXPECT_EQ(lasting_part(bytes_of(path(a) + "/report.html")),
              lasting_part(bytes_of(path(b) + "/report.html")));
    const auto lines = [&](const std::string& out) {
      const std::string log = bytes_of(path(out) + "/log.csv");
      return std::count(log.begin(), log.end(), '\n');
    };
    EXPECT_EQ(lines(a), 13);
    EXPECT_EQ(lines(b), 13);
  }
};

TEST_F(TrainHeadsTest, WritesAPlanThatRuns) {
  const Json json = run_json(arguments("run"));
  EXPECT_EQ(json["steps"], 12);
  EXPECT_EQ(json["num_retrieval"], 5);
  EXPECT_EQ(json["plan"], path("run"));
  EXPECT_GE(json["undecided"].get<double>(), 0);
  EXPECT_GT(json["seconds_per_step"].get<double>(), 0);
  EXPECT_EQ(json["options"]["gate"], "hardkuma");
  EXPECT_EQ(json["options"]["budget"], 48);
  const Json config = Json::parse(bytes_of(path("run") + "/lychee_config.json"));
  EXPECT_EQ(config["rounding"]["rule"], "count");
  EXPECT_EQ(config["training"]["chain"], "inference");
  EXPECT_EQ(config["selection"]["budget"], 48);
  EXPECT_NE(bytes_of(path("run") + "/report.html").find("<svg"), std::string::npos);
  const Json plan = run_json({"inspect", "--model", "builtin:needle", "--heads", path("run")});
  EXPECT_EQ(plan["num_retrieval"], 5);
}

TEST_F(TrainHeadsTest, SaysWhereTheTimeWent) {
  const Json json = run_json(arguments("run"));
  double parts = 0;
  for (const char* name : {"prefill", "teacher", "student", "loss", "backward"}) {
    EXPECT_GT(json["split_seconds"][name].get<double>(), 0) << name;
    parts += json["split_seconds"][name].get<double>();
  }
  EXPECT_LE(parts, json["seconds_per_step"].get<double>());
  EXPECT_GT(json["peak_bytes"].get<int64_t>(), 1 << 20);
  const std::string log = bytes_of(path("run") + "/log.csv");
  EXPECT_NE(log.find(",seconds,prefill_s,teacher_s,student_s,loss_s,backward_s\n"),
            std::string::npos);
  const std::string first = log.substr(log.find('\n') + 1, log.find("\n1,") - log.find('\n'));
  EXPECT_EQ(std::count(first.begin(), first.end(), ','), 12) << first;
  EXPECT_NE(bytes_of(path("run") + "/report.html").find("<th>backward</th>"), std::string::npos);

  // A finished run that is resumed does nothing more.
  const Json again = run_json(arguments("run", {"--resume"}));
  EXPECT_EQ(again["seconds_per_step"], 0);
}

TEST_F(TrainHeadsTest, KilledRunGoesOnFromItsCheckpoint) {
  (void)run_json(arguments("whole"));
  stop_after("killed", 5, SIGKILL);
  EXPECT_TRUE(fs::exists(path("killed") + "/checkpoint.bin"));
  EXPECT_EQ(run_json(arguments("killed", {"--resume"}))["steps"], 12);
  expect_same_run("killed", "whole");
}

TEST_F(TrainHeadsTest, TerminatedRunKeepsEveryStep) {
  (void)run_json(arguments("whole"));
  const ProgramResult stopped = stop_after("stopped", 4, SIGTERM);
  EXPECT_EQ(stopped.exit_code, 128 + SIGTERM);
  EXPECT_THAT(stopped.err, testing::HasSubstr("--resume goes on"));
  EXPECT_TRUE(fs::exists(path("stopped") + "/checkpoint.bin"));
  EXPECT_TRUE(fs::exists(path("stopped") + "/head_roles.tsv"));
  EXPECT_EQ(run_json(arguments("stopped", {"--resume"}))["steps"], 12);
  expect_same_run("stopped", "whole");
}

TEST_F(TrainHeadsTest, RunInPiecesOfMinutesEqualsAWholeOne) {
  (void)run_json(arguments("whole"));
  const Json first = run_json(arguments("pieces", {"--minutes", "1e-9"}));
  EXPECT_EQ(first["steps"], 1);
  EXPECT_EQ(first["finished"], false);
  EXPECT_EQ(run_json(arguments("pieces", {"--minutes", "1e-9", "--resume"}))["steps"], 2);
  EXPECT_EQ(run_json(arguments("pieces", {"--resume"}))["steps"], 12);
  expect_same_run("pieces", "whole");
}

TEST_F(TrainHeadsTest, ARefinedRunInPiecesEqualsAWholeOne) {
  const std::vector<std::string> more = {"--refine", "2", "--refine-samples", "3"};
  const auto pieces = [&](const std::string& out) {
    return concat(arguments(out, more), {"--minutes", "1e-9"});
  };
  const Json whole = run_json(arguments("whole", more));
  EXPECT_EQ(whole["steps"], 12);
  EXPECT_EQ(whole["num_retrieval"], 5);
  EXPECT_LE(whole["refinement"]["objective"], whole["refinement"]["objective_before"]);
  for (int i = 0; i < 14; ++i) {  // 12 steps and two samples
    const Json piece = run_json(i == 0 ? pieces("pieces") : concat(pieces("pieces"), {"--resume"}));
    EXPECT_EQ(piece["finished"], false);
  }
  EXPECT_EQ(run_json(concat(arguments("pieces", more), {"--resume"}))["finished"], true);
  expect_same_run("pieces", "whole");
  EXPECT_EQ(bytes_of(path("pieces") + "/refine.csv"), bytes_of(path("whole") + "/refine.csv"));
  // All of it again is refused, or nothing to do.
  expect_failure(arguments("whole", {"--resume"}), 2, {"other options"});
  EXPECT_EQ(run_json(concat(arguments("whole", more), {"--resume"}))["refinement"],
            whole["refinement"]);
}

TEST_F(TrainHeadsTest, RefinementMendsAPlan) {
  const auto refine = [&](const std::string& init, const std::string& out) {
    return concat(common_arguments(out), {"--refine", "3", "--init", init});
  };
  const Json json = run_json(refine("builtin:swapped", "mended"));
  EXPECT_EQ(json["refinement"]["swaps"], 1);
  EXPECT_EQ(json["options"]["init"], "builtin:swapped");
  EXPECT_FALSE(json["options"].contains("steps"));
  const Json plan = run_json({"inspect", "--model", "builtin:needle", "--heads", path("mended")});
  const Json truth = run_json({"inspect", "--model", "builtin:needle", "--heads", "builtin"});
  EXPECT_EQ(plan["roles"], truth["roles"]);
  const Json config = Json::parse(bytes_of(path("mended") + "/lychee_config.json"));
  EXPECT_FALSE(config.contains("rounding"));
  EXPECT_EQ(config["training"]["refine"], 3);
  const std::string csv = bytes_of(path("mended") + "/refine.csv");
  EXPECT_EQ(csv.rfind("round,before,after,opened,closed\n1,", 0), 0U) << csv;
  EXPECT_NE(csv.find(",3.1,3.2\n"), std::string::npos) << csv;
  EXPECT_NE(bytes_of(path("mended") + "/report.html").find("<h2>Refinement</h2>"),
            std::string::npos);

  // A plan that needs nothing stays what it was, with the scores that came with it.
  (void)run_json(arguments("trained"));
  (void)run_json(refine(path("trained"), "kept"));
  for (const char* name : {"head_roles.tsv", "head_scores.tsv", "head_params.safetensors"}) {
    EXPECT_EQ(bytes_of(path("kept") + "/" + name), bytes_of(path("trained") + "/" + name)) << name;
  }
  const auto rounding = [&](const char* plan) {
    return Json::parse(bytes_of(path(plan) + "/lychee_config.json"))["rounding"]["rule"];
  };
  EXPECT_EQ(rounding("kept"), "count");
  EXPECT_EQ(rounding("kept"), rounding("trained"));
}

TEST_F(TrainHeadsTest, AFolderWithARunIsNotOverwritten) {
  (void)run_json(arguments("run"));
  expect_failure(arguments("run"), 2, {"holds a run already", "--resume"});
  expect_failure(arguments("run", {"--resume", "--seed", "7"}), 2,
                 {"run/options.json", R"(other options:  "seed": 0, then,  "seed": 7, now)"});
  (void)file("run/checkpoint.bin", "nonsense");
  expect_failure(arguments("run", {"--resume"}), 2, {"no checkpoint"});
}

TEST_F(TrainHeadsTest, BadInputIsRefusedInOneLine) {
  const auto refused = [&](const std::vector<std::string>& more,
                           const std::vector<std::string>& parts, int exit_code = 2) {
    std::vector<std::string> all = {"train-heads", "--model", "builtin:needle", "--threads", "1",
                                    "--steps",     "2",       "--out",          path("bad")};
    expect_failure(concat(all, more), exit_code, parts);
  };
  refused({"--data", "text"}, {"--text-file"});
  refused({"--data", "text", "--text-file", file("short.txt", "the sky is blue .")}, {"too short"});
  refused({"--data", "sky"}, {"sky", "passkey"});
  refused({"--data", "needle:-1"}, {"-1"});
  refused({"--data", "qa"}, {"--qa-file"});
  refused({"--data", "qa", "--qa-file", file("qa.jsonl", "{\"context\":\"the sky\"}\n")},
          {"qa.jsonl", "line 1", "question"});
  refused({"--data", "needle", "--context-min", "500", "--context-max", "400"}, {"500", "400"});
  refused({"--data", "needle", "--budget", "5000"}, {"5000", "4096"});
  refused({"--data", "needle", "--budget", "64"}, {"64", "80"});
  refused({"--data", "needle", "--retrieval-heads", "3"}, {"3", "4", "24"});
  refused({"--data", "needle", "--retrieval-heads", "25"}, {"25", "24"});
  refused({"--data", "needle", "--retrieval-heads", ""}, {"--retrieval-heads", "whole number"});
  refused({"--data", "needle", "--target-density", "0.99"}, {"0.99", "impossible"});
  refused({"--data", "needle", "--target-density", "0.1", "--retrieval-heads", "5"},
          {"either --retrieval-heads or --target-density"});
  refused({"--data", "needle", "--context-min", "5"}, {"5 tokens are too short", "--context-min"});
  if (!cuda_available()) {
    refused({"--data", "needle", "--device", "cuda"}, {"device cuda", "--device cpu"});
  }
  refused({"--data", "needle", "--gate", "none"}, {"--gate"});
  refused({"--data", "needle", "--minutes", "0"}, {"--minutes"});
  refused({"--data", "needle", "--refine", "1", "--chain", "published"}, {"--chain inference"});
  refused({"--data", "needle", "--refine", "-1"}, {"--refine"});
  refused({"--data", "needle", "--refine", "1", "--refine-samples", "0"}, {"--refine-samples"});
  refused({"--data", "needle", "--refine", "1", "--init", "builtin"}, {"--steps", "--init"});
}

TEST_F(TrainHeadsTest, BadPlansToRefineAreRefusedInOneLine) {
  const auto refused = [&](const std::vector<std::string>& more,
                           const std::vector<std::string>& parts) {
    const std::vector<std::string> all = {"train-heads", "--model", "builtin:needle", "--data",
                                          "needle",      "--out",   path("bad")};
    expect_failure(concat(all, more), 2, parts);
  };
  refused({"--init", "builtin"}, {"--init", "--refine ROUNDS"});
  refused({"--refine", "1", "--init", "uniform:99"}, {"99", "24"});
  refused({"--refine", "1", "--init", path("nowhere")}, {"no head plan", "nowhere"});
  refused({"--refine", "1", "--init", "builtin", "--retrieval-heads", "5"},
          {"--retrieval-heads", "--init"});
}

TEST_F(TrainHeadsTest, ContextsBeyondTheModelAreRefused) {
  const auto refused = [&](const std::string& text, const std::string& context_max,
                           const std::vector<std::string>& parts) {
    expect_failure({"train-heads", "--model", text_model(), "--data", "text", "--text-file",
                    file("text.txt", text), "--context-min", "900", "--context-max", context_max,
                    "--budget", "300", "--steps", "1", "--out", path("far")},
                   2, parts);
  };
  // Before any text is looked at, which here would be too short.
  refused("word word", "1025", {"1025", "exceed", "1024", "--context-max"});
  std::string words;
  for (int i = 0; i < 3000; ++i) {
    words += "word ";
  }
  refused(words, "1000", {"1000", "after them exceed", "1024", "--context-max"});
  // The folder holds no run yet: the next try needs no --resume.
  refused(words, "1000", {"1000", "after them exceed", "1024", "--context-max"});
}

TEST_F(TrainHeadsTest, AFolderThatCannotBeWrittenIsAnError) {
  (void)file("taken", "x");
  expect_failure(arguments("taken/run"), 1, {"taken/run"});
  std::vector<std::string> nowhere = common_arguments("run");
  nowhere.back().clear();
  expect_failure(nowhere, 2, {"--out is empty"});
}

}  // namespace
}  // namespace lychee::test
