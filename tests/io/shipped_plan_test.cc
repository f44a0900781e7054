#include "io/head_plan/shipped_plan.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "io/head_plan/head_plan_files.h"

namespace lychee::io {
namespace {

namespace fs = std::filesystem;

class ShippedPlanTest : public testing::Test {
 protected:
  ShippedPlanTest() : root_(testing::TempDir() + "/lychee_shipped_" + std::to_string(getpid())) {
    fs::remove_all(root_);
    fs::create_directories(root_ / "build/release/bin");
  }
  ~ShippedPlanTest() override { fs::remove_all(root_); }
  void add(const std::string& folder) {
    fs::create_directories(root_ / folder);
    std::ofstream(root_ / folder / "lychee_config.json") << "{}";
  }
  fs::path root_;
};

TEST_F(ShippedPlanTest, FoundAboveTheProgramByNameOrFile) {
  add("plans/smollm2");
  const fs::path bin = root_ / "build/release/bin";
  EXPECT_EQ(find_shipped_plan("smollm2", bin), root_ / "plans/smollm2");
  EXPECT_EQ(find_shipped_plan("/cache/SmolLM2-135M-Instruct.Q4_1.gguf", bin),
            root_ / "plans/smollm2");
  EXPECT_FALSE(find_shipped_plan("qwen2.5-coder-0.5b", bin).has_value());
  EXPECT_FALSE(find_shipped_plan("plans/smollm2", bin).has_value());
  EXPECT_FALSE(find_shipped_plan("smollm2", "").has_value());
}

TEST_F(ShippedPlanTest, FoundWhereItIsInstalled) {
  add("share/lycheedecode/plans/smollm2");
  fs::create_directories(root_ / "bin");
  EXPECT_EQ(find_shipped_plan("smollm2", root_ / "bin"),
            root_ / "share/lycheedecode/plans/smollm2");
}

TEST_F(ShippedPlanTest, AFolderWithoutAPlanIsNone) {
  fs::create_directories(root_ / "plans/smollm2");
  EXPECT_FALSE(find_shipped_plan("smollm2", root_ / "build/release/bin").has_value());
}

// The plans of this repository can be read, and fit what they say of themselves.
TEST(ShippedPlans, AllAreWhole) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(LYCHEE_SOURCE_DIR) / "plans")) {
    const HeadPlanFiles files = read_head_plan_folder(entry.path());
    EXPECT_EQ(files.plan.num_layers(), files.shape.num_layers) << entry.path();
    EXPECT_EQ(files.scores.empty(), false) << entry.path();
    ASSERT_TRUE(files.plan.selection.has_value()) << entry.path();
    ++count;
  }
  EXPECT_GE(count, 1);
}

}  // namespace
}  // namespace lychee::io
