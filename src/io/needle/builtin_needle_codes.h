#pragma once

#include <array>
#include <vector>

namespace lychee::io {

constexpr int kNeedleVocabulary = 120;
constexpr int kMatchDims = 4;
constexpr int kPayloadDims = 16;

// Unit vectors of 4 dimensions, as many as there are tokens, any two at least 36° apart: the
// vertices of the 600-cell. The first 24 are at least 60° apart (the 24-cell).
[[nodiscard]] std::vector<std::array<double, kMatchDims>> match_codes();

// Entry `column` of row `row` of the Hadamard matrix of order 16: rows are ±1 and orthogonal.
[[nodiscard]] int hadamard(int row, int column);

}  // namespace lychee::io
