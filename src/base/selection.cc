#include "lychee/selection.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/check.h"
#include "base/math.h"

namespace lychee {

std::string_view select_mode_name(SelectMode mode) {
  static constexpr std::array<std::string_view, 5> kNames = {"topk", "block", "ratio", "mass",
                                                             "threshold"};
  return kNames[static_cast<size_t>(mode)];
}

std::optional<SelectMode> parse_select_mode(std::string_view name) {
  for (const SelectMode mode : {SelectMode::kTopK, SelectMode::kBlock, SelectMode::kRatio,
                                SelectMode::kMass, SelectMode::kThreshold}) {
    if (select_mode_name(mode) == name) {
      return mode;
    }
  }
  return std::nullopt;
}

namespace {

void validate_block_budget(const Selection& selection) {
  constexpr int kBlock = Selection::kBlockSize;
  require(selection.budget % kBlock == 0, ErrorCode::kInvalidArgument, "budget ", selection.budget,
          " must be a multiple of the block size ", kBlock, " with --select block");
  // The recent tokens may straddle one block more than they fill.
  const int forced_blocks =
      ceil_div(selection.sink, kBlock) + 1 + ceil_div(selection.recent - 1, kBlock);
  require(selection.budget / kBlock >= forced_blocks, ErrorCode::kInvalidArgument, "budget ",
          selection.budget, " holds ", selection.budget / kBlock, " blocks of ", kBlock,
          ", but sink ", selection.sink, " and recent ", selection.recent, " may need ",
          forced_blocks);
}

}  // namespace

void validate(const Selection& selection) {
  require(selection.sink >= 0, ErrorCode::kInvalidArgument, "sink ", selection.sink,
          " must not be negative");
  require(selection.recent >= 1, ErrorCode::kInvalidArgument, "recent ", selection.recent,
          " must be at least 1, the current token");
  const int64_t forced = int64_t{selection.sink} + selection.recent;
  if (selection.mode == SelectMode::kRatio) {
    require(selection.ratio > 0 && selection.ratio <= 1, ErrorCode::kInvalidArgument, "ratio ",
            selection.ratio, " must be in (0, 1]");
    return;
  }
  require(selection.budget >= forced, ErrorCode::kInvalidArgument, "budget ", selection.budget,
          " is below sink ", selection.sink, " + recent ", selection.recent, " = ", forced);
  switch (selection.mode) {
    case SelectMode::kBlock:
      validate_block_budget(selection);
      break;
    case SelectMode::kMass:
      require(selection.mass > 0 && selection.mass <= 1, ErrorCode::kInvalidArgument, "mass ",
              selection.mass, " must be in (0, 1]");
      break;
    case SelectMode::kThreshold:
      require(selection.threshold >= 0 && selection.threshold <= 1, ErrorCode::kInvalidArgument,
              "threshold ", selection.threshold, " must be in [0, 1]");
      break;
    default:
      break;
  }
}

int64_t effective_budget(const Selection& selection, int64_t kv_len) {
  if (selection.mode != SelectMode::kRatio) {
    return selection.budget;
  }
  const auto share = static_cast<int64_t>(std::ceil(selection.ratio * static_cast<double>(kv_len)));
  return std::max(int64_t{selection.sink} + selection.recent, share);
}

int64_t max_selected(const Selection& selection, int64_t max_kv_len) {
  return std::min(effective_budget(selection, max_kv_len), max_kv_len);
}

}  // namespace lychee
