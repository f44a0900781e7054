#include "lychee/head_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "base/text_file.h"
#include "io/fetch/sha256.h"
#include "io/head_plan/head_plan_files.h"
#include "io/json_file.h"
#include "support/expect_error.h"
#include "support/model_writer.h"

namespace lychee {
namespace {

using nlohmann::json;
using test::expect_error;
using testing::ElementsAre;

constexpr auto kInvalid = ErrorCode::kInvalidArgument;
constexpr auto kUnsupported = ErrorCode::kUnsupported;
constexpr HeadPlanShape kShape{4, 8, 2, 64};

std::vector<int> roles(const HeadPlan& plan) {
  std::vector<int> values;
  for (int layer = 0; layer < plan.num_layers(); ++layer) {
    for (int head = 0; head < plan.num_kv_heads(); ++head) {
      values.push_back(plan.role(layer, head) == HeadRole::kRetrieval ? 1 : 0);
    }
  }
  return values;
}

TEST(HeadPlan, StartsWithLayerZeroOnly) {
  EXPECT_THAT(roles(HeadPlan(3, 2)), ElementsAre(1, 1, 0, 0, 0, 0));
  EXPECT_EQ(HeadPlan(3, 2).num_retrieval(), 2);
}

TEST(HeadPlan, UniformFollowsTheFormula) {
  // L = 4, H_kv = 2, N = 5: M = 6, R = 3, entries 1, 3, 5 = (layer 2, head 0), (1, 1), (3, 1).
  EXPECT_THAT(roles(HeadPlan::uniform(4, 2, 5)), ElementsAre(1, 1, 0, 1, 1, 0, 0, 1));
  // R = 2: entries 1 and 4 = (layer 2, head 0), (2, 1).
  EXPECT_THAT(roles(HeadPlan::uniform(4, 2, 4)), ElementsAre(1, 1, 0, 0, 1, 1, 0, 0));
  EXPECT_EQ(HeadPlan::uniform(4, 2, 5).name, "uniform:5");
}

TEST(HeadPlan, CountsHoldForEveryN) {
  for (int count = 3; count <= 30 * 3; ++count) {
    EXPECT_EQ(HeadPlan::uniform(30, 3, count).num_retrieval(), count);
    EXPECT_EQ(HeadPlan::random(30, 3, count, 7).num_retrieval(), count);
  }
  EXPECT_EQ(HeadPlan::uniform(1, 4, 4).num_retrieval(), 4);
}

TEST(HeadPlan, RandomIsFixedBySeed) {
  // mt19937_64 and the rejection are specified to the bit, so these may never change.
  EXPECT_THAT(roles(HeadPlan::random(4, 2, 5, 1)), ElementsAre(1, 1, 0, 1, 0, 1, 1, 0));
  EXPECT_EQ(HeadPlan::random(8, 4, 12, 5), HeadPlan::random(8, 4, 12, 5));
  EXPECT_NE(HeadPlan::random(8, 4, 12, 5), HeadPlan::random(8, 4, 12, 6));
}

TEST(HeadPlan, RandomReachesEveryHead) {
  std::set<size_t> seen;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const std::vector<int> values = roles(HeadPlan::random(4, 2, 3, seed));
    for (size_t i = 2; i < values.size(); ++i) {
      if (values[i] == 1) {
        seen.insert(i);
      }
    }
  }
  EXPECT_EQ(seen.size(), 6U);
}

TEST(HeadPlan, RefusesImpossibleCounts) {
  for (const int count : {-1, 1, 9}) {
    expect_error(kInvalid, "between 2 (layer 0 is all retrieval) and 8",
                 [&] { static_cast<void>(HeadPlan::uniform(4, 2, count)); });
    expect_error(kInvalid, "between 2",
                 [&] { static_cast<void>(HeadPlan::random(4, 2, count, 0)); });
  }
  expect_error(kInvalid, "at least 1", [] { static_cast<void>(HeadPlan(0, 2)); });
}

TEST(HeadPlan, RefusesHeadsOutsideAndSparseLayerZero) {
  HeadPlan plan(4, 2);
  expect_error(kInvalid, "no head (4, 0)", [&] { static_cast<void>(plan.role(4, 0)); });
  expect_error(kInvalid, "no head (0, -1)", [&] { static_cast<void>(plan.role(0, -1)); });
  expect_error(kInvalid, "layer 0", [&] { plan.set_role(0, 1, HeadRole::kSparse); });
}

class PlanFolder : public testing::Test {
 protected:
  PlanFolder() : plan_(HeadPlan::uniform(4, 2, 5)) { save(); }

  void save() { save_head_plan(plan_, path(), kShape, "org/model", "uniform"); }
  [[nodiscard]] std::filesystem::path path() const { return folder_.path() / "plan"; }
  [[nodiscard]] json config() const {
    return json::parse(read_text_file(path() / "lychee_config.json"));
  }
  void patch(const char* change) {
    json changed = config();
    changed.merge_patch(json::parse(change));
    test::write_text(path() / "lychee_config.json", changed.dump());
  }
  // Roles that the configuration does not contradict.
  void write_roles(const std::string& text) {
    test::write_text(path() / "head_roles.tsv", text);
    patch(R"({"roles_sha256":null,"num_retrieval":null})");
  }
  void expect_refused(ErrorCode code, const char* message) {
    expect_error(code, message, [&] { static_cast<void>(load_head_plan(path(), kShape)); });
    save();
  }

  test::TemporaryFolder folder_;
  HeadPlan plan_;
};

TEST_F(PlanFolder, SurvivesTheWayThereAndBack) {
  plan_.selection = Selection{.mode = SelectMode::kMass, .budget = 640, .sink = 16, .recent = 64};
  plan_.selection->mass = 0.9;
  plan_.cache_correction = 32;
  save();
  const HeadPlan loaded = load_head_plan(path(), kShape);
  EXPECT_EQ(loaded, plan_);
  EXPECT_EQ(loaded.selection, plan_.selection);
  EXPECT_EQ(loaded.cache_correction, 32);
  EXPECT_EQ(loaded.name, path().string());
  const io::HeadPlanFiles files = io::read_head_plan_folder(path());
  EXPECT_EQ(files.base_model, "org/model");
  EXPECT_EQ(files.rounding_rule, "uniform");
  EXPECT_EQ(files.shape.head_dim, 64);
  EXPECT_TRUE(files.scores.empty());
}

TEST_F(PlanFolder, WritesTheDocumentedForm) {
  EXPECT_EQ(read_text_file(path() / "head_roles.tsv"), "1\t1\n0\t1\n1\t0\n0\t1\n");
  const json written = config();
  EXPECT_EQ(written["format"], "lychee-head-plan");
  EXPECT_EQ(written["format_version"], 1);
  EXPECT_EQ(written["num_retrieval"], 5);
  EXPECT_EQ(written["base_model"]["num_hidden_layers"], 4);
  EXPECT_EQ(written["roles_sha256"], io::sha256_file(path() / "head_roles.tsv"));
  const auto entries = std::distance(std::filesystem::directory_iterator(path()),
                                     std::filesystem::directory_iterator());
  EXPECT_EQ(entries, 2);  // no temporary file is left
}

TEST_F(PlanFolder, NeedsNoMoreThanRolesAndVersion) {
  test::write_text(path() / "lychee_config.json",
                   R"({"format":"lychee-head-plan","format_version":1,"unknown_key":[1]})");
  test::write_text(path() / "head_roles.tsv", "1 1\n0 1.0\r\n1.000e+00\t0\n0 1");
  EXPECT_EQ(load_head_plan(path(), kShape), plan_);
}

TEST_F(PlanFolder, WritesGateStateAndRecipe) {
  io::HeadPlanFiles files = io::read_head_plan_folder(path());
  files.kuma_alpha = {1, 2, 3, 4, 5, 6, 7, 0.1F};
  files.kuma_beta = std::vector<float>(8, 0.25F);
  files.training = R"({"steps": 3, "loss": "kl"})";
  io::write_head_plan_folder(files, path());
  const io::HeadPlanFiles loaded = io::read_head_plan_folder(path());
  EXPECT_EQ(loaded.kuma_alpha, files.kuma_alpha);
  EXPECT_EQ(loaded.kuma_beta, files.kuma_beta);
  EXPECT_EQ(config()["training"]["loss"], "kl");
}

TEST_F(PlanFolder, ReadsScoresAndGateState) {
  io::HeadPlanFiles files = io::read_head_plan_folder(path());
  files.scores = {1, 0.1F, 0.2F, 0.3F, 0.4F, 0.5F, 1e-9F, 1.0F / 3};
  io::write_head_plan_folder(files, path());
  const std::vector<test::WriterTensor> state = {
      test::make_tensor("kuma.alpha", {4, 2}, files.scores),
      test::make_tensor("kuma.beta", {4, 2}, std::vector<float>(8, 2))};
  test::write_bytes(path() / "head_params.safetensors", test::encode_safetensors(state));
  const io::HeadPlanFiles loaded = io::read_head_plan_folder(path());
  EXPECT_EQ(loaded.scores, files.scores);
  EXPECT_EQ(loaded.kuma_alpha, files.scores);
  EXPECT_EQ(loaded.kuma_beta, std::vector<float>(8, 2));
  test::write_text(path() / "head_scores.tsv", "1 2 3\n");
  expect_refused(kInvalid, "1 by 3 scores for 4 by 2 roles");
  std::filesystem::remove(path() / "head_scores.tsv");
  test::write_bytes(path() / "head_params.safetensors",
                    test::encode_safetensors(std::vector<test::WriterTensor>{
                        test::make_tensor("kuma.beta", {8}, std::vector<float>(8, 2))}));
  expect_refused(kInvalid, "kuma.beta is not F32 of 4 by 2");
}

TEST_F(PlanFolder, RefusesAnotherModel) {
  const auto expect_mismatch = [&](const HeadPlanShape& model, const char* message) {
    expect_error(kInvalid, message, [&] { static_cast<void>(load_head_plan(path(), model)); });
  };
  expect_mismatch({5, 8, 2, 64}, "is for 4 layers, the model has 5");
  expect_mismatch({4, 8, 4, 64}, "is for 2 KV heads, the model has 4");
  expect_mismatch({4, 16, 2, 64}, "is for 8 query heads, the model has 16");
  expect_mismatch({4, 8, 2, 128}, "is for 64 dimensions a head, the model has 128");
  patch(R"({"base_model":null})");
  expect_mismatch({5, 8, 2, 64}, "is for 4 layers, the model has 5");
}

TEST_F(PlanFolder, RefusesWhatItDoesNotKnow) {
  patch(R"({"format":"other"})");
  expect_refused(kInvalid, "format is \"other\"");
  patch(R"({"format_version":2})");
  expect_refused(kUnsupported, "format_version is 2");
  patch(R"({"format_version":null})");
  expect_refused(kInvalid, "format_version is missing");
  patch(R"({"granularity":"q_head"})");
  expect_refused(kUnsupported, "granularity");
  patch(R"({"selection":{"mode":"best"}})");
  expect_refused(kInvalid, "mode is \"best\"");
  patch(R"({"selection":{"block_size":16}})");
  expect_refused(kUnsupported, "block_size is 16");
  patch(R"({"selection":{"query_reduce":"max"}})");
  expect_refused(kUnsupported, "query_reduce is \"max\"");
  patch(R"({"selection":{"budget":100}})");
  expect_refused(kInvalid, "selection: budget 100 is below");
  patch(R"({"selection":{"sink":-1}})");
  expect_refused(kInvalid, "sink is -1");
}

TEST_F(PlanFolder, RefusesContradictions) {
  patch(R"({"num_retrieval":6})");
  expect_refused(kInvalid, "num_retrieval is 6, the roles count 5");
  patch(R"({"roles_sha256":"00"})");
  expect_refused(kInvalid, "SHA-256 is");
  patch(R"({"base_model":{"num_hidden_layers":5}})");
  expect_refused(kInvalid, "is for 5 layers, the model has 4");
  patch(R"({"roles_file":"../roles.tsv"})");
  expect_refused(kInvalid, "not a plain file name");
  patch(R"({"roles_file":"absent.tsv"})");
  expect_refused(kInvalid, "cannot open");
}

TEST_F(PlanFolder, RefusesBadRoles) {
  const auto expect_bad = [&](const char* text, const char* message) {
    write_roles(text);
    expect_refused(kInvalid, message);
  };
  expect_bad("1\t0\n0\t1\n1\t0\n0\t1\n", "head 1 of layer 0 is sparse");
  expect_bad("1\t1\n0\t2\n1\t0\n0\t1\n", "line 2 holds 2; roles are 0");
  expect_bad("1\t1\n0\n1\t0\n0\t1\n", "line 2 has 1 values, line 1 has 2");
  expect_bad("1\t1\n\n1\t0\n0\t1\n", "line 2 has 0 values");
  expect_bad("1\t1\n0\tx\n1\t0\n0\t1\n", "\"x\" is not a number");
  expect_bad("1\tnan\n0\t1\n1\t0\n0\t1\n", "\"nan\" is not a number");
  expect_bad("", "holds no values");
}

TEST_F(PlanFolder, RefusesFoldersThatAreNoPlans) {
  expect_error(kInvalid, "it has no lychee_config.json",
               [&] { static_cast<void>(load_head_plan(folder_.path(), kShape)); });
  test::write_text(path() / "lychee_config.json", "[1]");
  expect_refused(kInvalid, "not a JSON object");
  test::write_text(path() / "lychee_config.json", "{");
  expect_refused(kInvalid, "not valid JSON");
}

TEST_F(PlanFolder, SaysWhenItCannotWrite) {
  test::write_text(folder_.path() / "file", "x");
  expect_error(ErrorCode::kIo, "cannot make the folder", [&] {
    save_head_plan(plan_, folder_.path() / "file" / "plan", kShape, "m", "uniform");
  });
  std::filesystem::create_directories(folder_.path() / "taken" / "head_roles.tsv" / "x");
  expect_error(ErrorCode::kIo, "cannot write",
               [&] { save_head_plan(plan_, folder_.path() / "taken", kShape, "m", "uniform"); });
  expect_error(kInvalid, "an empty head plan",
               [&] { save_head_plan(HeadPlan(), path(), kShape, "m", "uniform"); });
}

}  // namespace
}  // namespace lychee
