#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

namespace lychee::attention::cpu {

// Softmax over part of the tokens of one query, to be merged with other parts. Exponents are to
// base 2: weight = 2^(score · log2 e - max).
struct SoftmaxState {
  float max = -std::numeric_limits<float>::infinity();
  float sum = 0;

  // What a score is measured from; 0 for a state that holds nothing, since -inf - -inf is NaN.
  [[nodiscard]] float base() const {
    return max == -std::numeric_limits<float>::infinity() ? 0 : max;
  }
  // Natural log of the softmax sum; -inf for no tokens.
  [[nodiscard]] float lse() const {
    constexpr double kLn2 = 0.693147180559945309;
    return static_cast<float>(double{base()} * kLn2 + std::log(double{sum}));
  }
};

// Merges `parts` consecutive states and their unnormalised sums acc [parts, stride] of one query,
// in order, into out [head_dim] = acc / sum. Parts lie `state_stride` states and `acc_stride`
// floats apart.
SoftmaxState merge_states(const SoftmaxState* states, int64_t state_stride, const float* acc,
                          int64_t acc_stride, int64_t parts, int head_dim, float* out);

}  // namespace lychee::attention::cpu
