#include <gtest/gtest.h>

#include <string>

#include "io/head_plan/head_plan_duo.h"
#include "io/head_plan/head_plan_spec.h"
#include "support/expect_error.h"
#include "support/model_writer.h"

namespace lychee::io {
namespace {

using test::expect_error;
using Kind = HeadPlanSpec::Kind;

constexpr auto kInvalid = ErrorCode::kInvalidArgument;
constexpr HeadPlanShape kShape{3, 4, 2, 16};

TEST(HeadPlanSpec, ReadsEveryForm) {
  EXPECT_EQ(parse_head_plan_spec("uniform:11").kind, Kind::kUniform);
  EXPECT_EQ(parse_head_plan_spec("uniform:11").num_retrieval, 11);
  const HeadPlanSpec random = parse_head_plan_spec("random:7:18446744073709551615");
  EXPECT_EQ(random.kind, Kind::kRandom);
  EXPECT_EQ(random.num_retrieval, 7);
  EXPECT_EQ(random.seed, UINT64_MAX);
  EXPECT_EQ(parse_head_plan_spec("builtin").kind, Kind::kBuiltin);
  EXPECT_EQ(parse_head_plan_spec("builtin:swapped").kind, Kind::kBuiltinSwapped);
  EXPECT_EQ(parse_head_plan_spec("plans/x").folder, "plans/x");
}

TEST(HeadPlanSpec, RefusesBadNumbers) {
  for (const char* text : {"uniform:", "uniform:x", "uniform:5 ", "uniform:99999999999", "random:5",
                           "random:5:", "random::1", "random:5:-1", ""}) {
    expect_error(kInvalid, "head plan", [&] { static_cast<void>(parse_head_plan_spec(text)); });
  }
}

TEST(HeadPlanSpec, ResolvesAgainstTheModel) {
  const auto resolve = [](const char* text, const BuiltinPlans& builtin = {}) {
    return resolve_head_plan(parse_head_plan_spec(text), kShape, builtin);
  };
  EXPECT_EQ(resolve("uniform:3"), HeadPlan::uniform(3, 2, 3));
  EXPECT_EQ(resolve("random:4:9"), HeadPlan::random(3, 2, 4, 9));
  const BuiltinPlans builtin{HeadPlan::uniform(3, 2, 3), HeadPlan::uniform(3, 2, 4)};
  EXPECT_EQ(resolve("builtin", builtin), builtin.plan);
  EXPECT_EQ(resolve("builtin:swapped", builtin), builtin.swapped);
  expect_error(kInvalid, "no plan of its own", [&] { static_cast<void>(resolve("builtin")); });
  expect_error(kInvalid, "no head plan /nowhere", [&] { static_cast<void>(resolve("/nowhere")); });
  expect_error(kInvalid, "between 2", [&] { static_cast<void>(resolve("uniform:7")); });
  const test::TemporaryFolder folder;
  save_head_plan(HeadPlan::uniform(3, 2, 4), folder.path(), kShape, "m", "uniform");
  EXPECT_EQ(resolve(folder.path().c_str()), HeadPlan::uniform(3, 2, 4));
}

class DuoScores : public testing::Test {
 protected:
  DuoScores() {
    test::write_text(folder_.path() / "full_attention_heads.tsv",
                     "9.0e-01\t1.0e-01\n5.0e-01\t5.0e-01\n2.0e-01\t5.0e-01\n");
  }
  test::TemporaryFolder folder_;
};

TEST_F(DuoScores, RoundsByThreshold) {
  const DuoImport result = import_duo(folder_.path(), {.threshold = 0.5, .num_retrieval = {}});
  EXPECT_EQ(result.first_layer_set, 1);
  EXPECT_EQ(result.files.plan.num_retrieval(), 5);
  EXPECT_EQ(result.files.plan.role(2, 0), HeadRole::kSparse);
  EXPECT_EQ(result.files.rounding_rule, "imported");
  EXPECT_EQ(result.files.scores.size(), 6U);
}

TEST_F(DuoScores, GivesTiesToTheLowerHead) {
  const DuoImport result = import_duo(folder_.path() / "full_attention_heads.tsv",
                                      {.threshold = {}, .num_retrieval = 4});
  const HeadPlan& plan = result.files.plan;
  EXPECT_EQ(plan.num_retrieval(), 4);
  EXPECT_EQ(plan.role(1, 0), HeadRole::kRetrieval);
  EXPECT_EQ(plan.role(1, 1), HeadRole::kRetrieval);
  EXPECT_EQ(plan.role(2, 1), HeadRole::kSparse);
  EXPECT_EQ(result.first_layer_set, 1);
}

TEST_F(DuoScores, RefusesBadRules) {
  const auto expect_refused = [&](const DuoRule& rule, const char* message) {
    expect_error(kInvalid, message, [&] { static_cast<void>(import_duo(folder_.path(), rule)); });
  };
  expect_refused({}, "either a threshold or a number");
  expect_refused({.threshold = 0.5, .num_retrieval = 3}, "either a threshold or a number");
  expect_refused({.threshold = {}, .num_retrieval = 1}, "between 2");
  expect_refused({.threshold = {}, .num_retrieval = 7}, "and 6 are possible");
  expect_error(kInvalid, "cannot open", [&] {
    static_cast<void>(import_duo(folder_.path() / "x", {.threshold = 0.5, .num_retrieval = {}}));
  });
}

}  // namespace
}  // namespace lychee::io
