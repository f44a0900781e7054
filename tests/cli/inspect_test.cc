#include "cli/program.h"
#include "io/fetch/sha256.h"
#include "lychee/head_plan.h"
#include "support/golden.h"
#include "support/tiny_model.h"

namespace lychee::test {
namespace {

class InspectTest : public FilesTest {
 protected:
  [[nodiscard]] std::string plan_folder() const {
    HeadPlan plan(3, 2);
    plan.set_role(2, 1, HeadRole::kRetrieval);
    save_head_plan(plan, path("plan"), {3, 4, 2, 16}, "tiny", "count");
    return path("plan");
  }
};

const Json kRoles = {{1, 1}, {0, 0}, {0, 1}};

TEST_F(InspectTest, DescribesAModel) {
  const Json json = run_json({"inspect", "--model", tiny_model()});
  EXPECT_EQ(json["architecture"], "llama");
  EXPECT_EQ(json["layers"], 3);
  EXPECT_EQ(json["q_heads"], 4);
  EXPECT_EQ(json["kv_heads"], 2);
  EXPECT_EQ(json["head_dim"], 16);
  EXPECT_EQ(json["context"], 256);
  EXPECT_EQ(json["rope"]["type"], "default");
  EXPECT_GT(json["weights"]["bytes"].get<int64_t>(), 0);
  EXPECT_EQ(json["weights"]["types"]["f32"]["bytes"], json["weights"]["bytes"]);
  EXPECT_TRUE(json["tokenizer"].is_null());
  EXPECT_FALSE(json.contains("roles"));
  EXPECT_EQ(json["options"]["model_sha256"].get<std::string>().size(), 64U);
}

TEST_F(InspectTest, DescribesAPlan) {
  const Json json = run_json({"inspect", "--heads", plan_folder()});
  EXPECT_EQ(json["roles"], kRoles);
  EXPECT_EQ(json["num_retrieval"], 3);
  EXPECT_FALSE(json.contains("layers"));
}

TEST_F(InspectTest, DescribesBoth) {
  const Json json = run_json({"inspect", "--model", tiny_model(), "--heads", plan_folder()});
  EXPECT_EQ(json["layers"], 3);
  EXPECT_EQ(json["roles"], kRoles);
  EXPECT_EQ(json["options"]["heads"], plan_folder());
}

TEST_F(InspectTest, BuiltinModelBringsItsPlan) {
  const Json json = run_json({"inspect", "--model", "builtin:needle"});
  EXPECT_EQ(json["layers"], 6);
  EXPECT_EQ(json["kv_heads"], 4);
  EXPECT_EQ(json["num_retrieval"], 5);
  EXPECT_EQ(json["roles"][3], Json::array({0, 1, 0, 0}));
  EXPECT_GT(json["tokenizer"]["tokens"].get<int>(), 100);
  const Json swapped =
      run_json({"inspect", "--model", "builtin:needle", "--heads", "builtin:swapped"});
  EXPECT_EQ(swapped["num_retrieval"], 5);
  EXPECT_NE(swapped["roles"], json["roles"]);
}

TEST_F(InspectTest, NamesPlansByFormula) {
  const auto roles = [&](const char* heads) {
    return run_json({"inspect", "--model", tiny_model(), "--heads", heads});
  };
  EXPECT_EQ(roles("uniform:4")["num_retrieval"], 4);
  EXPECT_EQ(roles("random:3:9")["num_retrieval"], 3);
  EXPECT_EQ(roles("random:3:9")["roles"], roles("random:3:9")["roles"]);
}

TEST_F(InspectTest, ReadsRopeAndGguf) {
  const Json yarn = run_json({"inspect", "--model", golden_model("qwen3_yarn").string()});
  EXPECT_EQ(yarn["architecture"], "qwen3");
  EXPECT_EQ(yarn["rope"]["type"], "yarn");
  const Json gguf =
      run_json({"inspect", "--model", (golden_model("llama_linear") / "model.gguf").string()});
  EXPECT_EQ(gguf["rope"]["type"], "linear");
}

TEST_F(InspectTest, NamesFromFilesCannotSteerTheTerminal) {
  const io::ModelConfig config = tiny_config();
  const std::string model = path("a\x1b[2Jb\nc.gguf");
  write_gguf_file(model, config, tiny_weights(config));
  const ProgramResult result = run_program({"inspect", "--model", model});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, testing::HasSubstr("a\\x1b[2Jb\\x0ac.gguf"));
  EXPECT_THAT(result.out, testing::Not(testing::HasSubstr("\x1b")));
}

TEST_F(InspectTest, PlainOutputDrawsTheRoles) {
  const ProgramResult result = run_program({"inspect", "--heads", plan_folder()});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.out, testing::HasSubstr("##"));
  EXPECT_THAT(result.out, testing::HasSubstr(".#"));
}

TEST(FetchCommandTest, ListsTheCatalogue) {
  const Json json = run_json({"fetch", "--list"});
  std::vector<std::string> names;
  for (const Json& model : json["models"]) {
    names.push_back(model["name"]);
    EXPECT_EQ(model["sha256"].get<std::string>().size(), 64U);
    EXPECT_GT(model["bytes"].get<int64_t>(), 0);
    EXPECT_EQ(model["cached"], false);
  }
  EXPECT_THAT(names,
              testing::IsSupersetOf({"smollm2", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"}));
}

TEST_F(InspectTest, DrawsThePlan) {
  const Json json = run_json({"inspect", "--heads", plan_folder(), "--html", path("plan.html")});
  EXPECT_EQ(json["num_retrieval"], 3);
  const std::string page = bytes_of(path("plan.html"));
  EXPECT_THAT(page, testing::HasSubstr("layer 2, KV head 1: retrieval"));
  EXPECT_THAT(page, testing::HasSubstr("layer 2, KV head 0: sparse"));
  EXPECT_THAT(page, testing::HasSubstr("3 of 6 KV heads retrieve"));
  expect_failure({"inspect", "--model", tiny_model(), "--html", path("none.html")}, 2, {"--heads"});
}

TEST_F(InspectTest, ImportsDuoAttentionsScores) {
  const std::string duo = file("full_attention_heads.tsv", "0.9\t0.1\n0.2\t0.7\n0.6\t0.1\n");
  const Json json = run_json({"import-heads", "--duo", duo, "--retrieval-heads", "3", "--model",
                              tiny_model(), "--out", path("imported")});
  EXPECT_EQ(json["num_retrieval"], 3);
  EXPECT_EQ(json["first_layer_set"], 1);
  const Json plan = run_json({"inspect", "--heads", path("imported")});
  EXPECT_EQ(plan["roles"], (Json{{1, 1}, {0, 1}, {0, 0}}));
  expect_failure({"import-heads", "--duo", duo, "--model", tiny_model(), "--out", path("x")}, 2,
                 {"--threshold", "--retrieval-heads"});
  const std::string roles = bytes_of(path("imported/head_roles.tsv"));
  expect_failure({"import-heads", "--duo", duo, "--retrieval-heads", "1", "--model", tiny_model(),
                  "--out", path("imported")},
                 2, {path("imported"), "holds a head plan already"});
  EXPECT_EQ(bytes_of(path("imported/head_roles.tsv")), roles);
}

}  // namespace
}  // namespace lychee::test
