#include "kernels/activation/silu_mul.h"

#include <gtest/gtest.h>

namespace lychee::activation {
namespace {

TEST(SiluMul, KnownValues) {
  const float gate[] = {0, 1, -1};
  const float up[] = {3, 2, 2};
  float y[3];
  cpu::silu_mul({1, 3, gate, up, 3, 3, y, 3});
  EXPECT_FLOAT_EQ(y[0], 0);
  EXPECT_FLOAT_EQ(y[1], 2 * 0.7310585786F);
  EXPECT_FLOAT_EQ(y[2], -2 * 0.2689414214F);
}

}  // namespace
}  // namespace lychee::activation
