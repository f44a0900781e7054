// Rows moved on the device, against where they should be.
#include "kernels/rows/rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "support/backends.h"
#include "support/device_mirror.h"
#include "support/random.h"

namespace lychee::rows {
namespace {

class RowsCudaTest : public testing::TestWithParam<int64_t> {};

std::vector<float> nans(int64_t count) {
  std::vector<float> values(static_cast<size_t>(count), std::numeric_limits<float>::quiet_NaN());
  return values;
}

TEST_P(RowsCudaTest, GatherAndScatterMoveTheRowsThatIdsName) {
  const int64_t dim = GetParam();
  const std::vector<int64_t> ids = {5, 0, 3, 7};
  const auto count = std::ssize(ids);
  test::Random random;
  const std::vector<float> all = random.normals(9 * dim);
  const std::vector<float> some = random.normals(count * dim);
  std::vector<float> gathered = nans((count + 1) * dim);
  std::vector<float> scattered = nans(9 * dim);
  test::DeviceMirror mirror;
  const int64_t* device_ids = mirror.input(ids.data(), count);
  cuda::gather({count, dim, mirror.input(all.data(), 9 * dim), device_ids, mirror.output(gathered)},
               mirror.stream());
  cuda::scatter(
      {count, dim, mirror.input(some.data(), count * dim), device_ids, mirror.output(scattered)},
      mirror.stream());
  mirror.finish();
  for (int64_t i = 0; i < dim; ++i) {
    for (int64_t r = 0; r < count; ++r) {
      const int64_t row = ids[static_cast<size_t>(r)];
      ASSERT_EQ(gathered[static_cast<size_t>(r * dim + i)],
                all[static_cast<size_t>(row * dim + i)]);
      ASSERT_EQ(scattered[static_cast<size_t>(row * dim + i)],
                some[static_cast<size_t>(r * dim + i)]);
    }
    ASSERT_TRUE(std::isnan(gathered[static_cast<size_t>(count * dim + i)]));
    for (const int64_t row : {1, 2, 4, 6, 8}) {
      ASSERT_TRUE(std::isnan(scattered[static_cast<size_t>(row * dim + i)]));
    }
  }
}

TEST_P(RowsCudaTest, AppendPutsTokensBehindTheContextOfEachHead) {
  const auto head_dim = static_cast<int>(GetParam());
  constexpr int64_t kRows = 5;
  constexpr int kHeads = 3;
  constexpr int64_t kStride = 11;
  constexpr int64_t kFirst = 4;
  test::Random random;
  const std::vector<float> tokens = random.normals(kRows * kHeads * head_dim);
  std::vector<float> context = nans(kHeads * kStride * head_dim);
  test::DeviceMirror mirror;
  cuda::append(
      {kRows, kHeads, head_dim, mirror.input(tokens), mirror.output(context), kStride, kFirst},
      mirror.stream());
  mirror.finish();
  for (int64_t head = 0; head < kHeads; ++head) {
    for (int64_t row = 0; row < kStride; ++row) {
      for (int64_t i = 0; i < head_dim; ++i) {
        const float value = context[static_cast<size_t>((head * kStride + row) * head_dim + i)];
        const int64_t token = row - kFirst;
        if (token < 0 || token >= kRows) {
          ASSERT_TRUE(std::isnan(value)) << head << ", " << row;
        } else {
          ASSERT_EQ(value, tokens[static_cast<size_t>((token * kHeads + head) * head_dim + i)]);
        }
      }
    }
  }
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(RowsCudaTest);
INSTANTIATE_TEST_SUITE_P(Cuda, RowsCudaTest,
                         testing::ValuesIn(cuda_available() ? std::vector<int64_t>{1, 64, 200}
                                                            : std::vector<int64_t>{}));

}  // namespace
}  // namespace lychee::rows
