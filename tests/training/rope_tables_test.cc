// The cosines and sines that a pass of training rotates by, wherever its rows begin.

#include "training/rope_tables.h"

#include <gtest/gtest.h>

#include <cmath>

#include "model/weights.h"
#include "support/expect_error.h"
#include "support/tiny_model.h"
#include "training/backends.h"

namespace lychee::training {
namespace {

constexpr int64_t kMaxRows = 40;
constexpr int64_t kMaxPositions = 300;

io::ModelConfig config_of(io::RopeType type) {
  io::ModelConfig config = test::tiny_config();
  config.rope_scaling.type = type;
  config.rope_scaling.factor = 4;
  config.rope_scaling.original_context = 64;
  return config;
}

class RopeTablesTest : public testing::TestWithParam<io::RopeType> {
 protected:
  // Against the formula in double, for each row's own frequencies.
  void expect_rows(int64_t num_rows, int64_t first_position, int64_t rope_length) {
    tables_.begin(num_rows, first_position, rope_length);
    const int half = config_.head_dim / 2;
    for (int64_t row = 0; row < num_rows; ++row) {
      const int64_t position = first_position + row;
      const model::RopeFrequencies frequencies =
          model::rope_frequencies(config_, rope_length > 0 ? rope_length : position + 1);
      const double* forward = tables_.forward() + row * config_.head_dim;
      const double* adjoint = tables_.adjoint() + row * config_.head_dim;
      for (int i = 0; i < half; ++i) {
        const double angle =
            static_cast<double>(position) * double{frequencies.inv_freq[static_cast<size_t>(i)]};
        const double factor = double{frequencies.attention_factor};
        ASSERT_EQ(forward[i], std::cos(angle) * factor) << position << ", " << i;
        ASSERT_EQ(forward[half + i], std::sin(angle) * factor) << position << ", " << i;
        ASSERT_EQ(adjoint[i], forward[i]) << position << ", " << i;
        ASSERT_EQ(adjoint[half + i], -forward[half + i]) << position << ", " << i;
      }
    }
  }

  io::ModelConfig config_ = config_of(GetParam());
  io::ModelFiles files_ = test::tiny_model_files(config_, test::tiny_weights(config_));
  model::ModelWeights weights_ = model::load_weights(files_);
  test::ReferenceBackend backend_{weights_};
  RopeTables<double> tables_{config_, backend_, kMaxRows, kMaxPositions};
};

TEST_P(RopeTablesTest, AreThoseOfTheRowsOfEveryPass) {
  expect_rows(40, 0, 90);  // a prompt in chunks
  expect_rows(40, 40, 90);
  expect_rows(10, 80, 90);
  expect_rows(10, 90, 0);    // rows that act as decode steps
  expect_rows(10, 90, 120);  // the same rows, of a longer prompt
  expect_rows(10, 290, 0);   // the last positions
  expect_rows(1, 0, 0);
}

TEST_P(RopeTablesTest, RowsBeyondTheTablesAreRefused) {
  const bool dynamic = GetParam() == io::RopeType::kDynamic;
  test::expect_error(ErrorCode::kInternal, dynamic ? "40 rows for 41" : "300 rows for 41",
                     [&] { tables_.begin(41, 260, 0); });
}

INSTANTIATE_TEST_SUITE_P(Types, RopeTablesTest,
                         testing::Values(io::RopeType::kDefault, io::RopeType::kDynamic,
                                         io::RopeType::kYarn),
                         [](const auto& info) {
                           return info.param == io::RopeType::kDefault   ? "plain"
                                  : info.param == io::RopeType::kDynamic ? "dynamic"
                                                                         : "yarn";
                         });

}  // namespace
}  // namespace lychee::training
