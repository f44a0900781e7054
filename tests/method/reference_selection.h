#pragma once

#include <cstdint>
#include <vector>

#include "lychee/selection.h"

namespace lychee::test {

// A token set and how far the choice was from another one: the smallest gap at a boundary of the
// selection, as a fraction of the range of the scores. Infinite when nothing was left to choose.
struct ReferenceSet {
  std::vector<int64_t> positions;  // ascending
  double gap;
};

// select(s, n, k) of algorithm.md, section 2; n = scores.size().
[[nodiscard]] ReferenceSet reference_select(const std::vector<double>& scores,
                                            const Selection& selection, double scale);

// Token set of the `page-bound` policy from the bounds of pages of 16 tokens.
[[nodiscard]] ReferenceSet reference_select_pages(const std::vector<double>& bounds, int64_t n,
                                                  const Selection& selection);

// Token set of the `streaming` policy.
[[nodiscard]] ReferenceSet reference_streaming(int64_t n, const Selection& selection);

}  // namespace lychee::test
