#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/linear/linear.h"
#include "tensor/dtype.h"

namespace lychee::linear {

constexpr DType kAllDTypes[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ4_0,
                                DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ8_0,
                                DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};

// `count` values of any dtype: random bits, with scales of about 1/16 where the format has them.
// The bytes start `misalignment` bytes after an allocation's start.
class RandomWeight {
 public:
  RandomWeight(DType dtype, int64_t count, uint32_t seed, int64_t misalignment);
  [[nodiscard]] const std::byte* data() const { return bytes_.data() + misalignment_; }

 private:
  std::vector<std::byte> bytes_;
  int64_t misalignment_;
};

struct LinearCase {
  const char* name;
  int64_t num_rows, in_features, out_features;  // in_features in units of 32
  bool bias, accumulate;
  int64_t x_padding, y_padding;  // added to the row strides
  int64_t misalignment;          // bytes
};

// Everything `linear` reads and writes. `y` starts as NaN, or as numbers where it is added to.
struct LinearInputs {
  LinearInputs(const LinearCase& c, DType dtype, bool exact);

  std::vector<float> x, bias, y;
  RandomWeight weight;
  std::vector<std::byte> workspace;
  LinearParams params;

  void run_cpu();
  // The outputs without the padding between rows, which must still hold what it held before.
  [[nodiscard]] std::vector<float> outputs() const;
  [[nodiscard]] bool padding_untouched() const;
};

// The values of x [num_rows, in_features] as int8 in groups of 32 times their scale.
[[nodiscard]] std::vector<float> rounded(const std::vector<float>& x, int64_t num_rows,
                                         int64_t in_features, int64_t stride);

// y in f32, one sum after the other.
[[nodiscard]] std::vector<float> plain_linear(const LinearParams& params,
                                              const std::vector<float>& y_before);

// The largest sum of |x · w| of an output: what rounding errors are relative to.
[[nodiscard]] double largest_magnitude(const LinearParams& params);

}  // namespace lychee::linear
