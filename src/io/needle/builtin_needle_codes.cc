#include "io/needle/builtin_needle_codes.h"

#include <algorithm>
#include <bit>
#include <numbers>

#include "base/check.h"

namespace lychee::io {
namespace {

using Code = std::array<double, kMatchDims>;

bool is_even(const std::array<int, kMatchDims>& permutation) {
  int inversions = 0;
  for (size_t i = 0; i < permutation.size(); ++i) {
    for (size_t j = i + 1; j < permutation.size(); ++j) {
      inversions += permutation[i] > permutation[j] ? 1 : 0;
    }
  }
  return inversions % 2 == 0;
}

double signed_by(unsigned signs, unsigned bit, double value) {
  return ((signs >> bit) & 1U) != 0 ? -value : value;
}

}  // namespace

std::vector<Code> match_codes() {
  std::vector<Code> codes;
  for (size_t axis = 0; axis < kMatchDims; ++axis) {
    for (const double sign : {1.0, -1.0}) {
      codes.emplace_back();
      codes.back()[axis] = sign;
    }
  }
  for (unsigned signs = 0; signs < 16; ++signs) {
    codes.push_back({signed_by(signs, 0, 0.5), signed_by(signs, 1, 0.5), signed_by(signs, 2, 0.5),
                     signed_by(signs, 3, 0.5)});
  }
  constexpr double kPhi = std::numbers::phi;
  std::array<int, kMatchDims> permutation{0, 1, 2, 3};
  do {
    for (unsigned signs = 0; is_even(permutation) && signs < 8; ++signs) {
      const Code base{signed_by(signs, 0, kPhi / 2), signed_by(signs, 1, 0.5),
                      signed_by(signs, 2, 0.5 / kPhi), 0};
      Code code;
      for (size_t i = 0; i < kMatchDims; ++i) {
        code[i] = base[static_cast<size_t>(permutation[i])];
      }
      codes.push_back(code);
    }
  } while (std::next_permutation(permutation.begin(), permutation.end()));
  require(codes.size() == kNeedleVocabulary, ErrorCode::kInternal, "600-cell has ", codes.size(),
          " vertices");
  return codes;
}

int hadamard(int row, int column) {
  return std::popcount(static_cast<unsigned>(row & column)) % 2 == 0 ? 1 : -1;
}

}  // namespace lychee::io
