#pragma once

#include <cstdint>

#include "kernels/attention/cuda/hybrid_decode/job.h"
#include "kernels/attention/params.h"
#include "kernels/cuda/dependent_launch.cuh"
#include "kernels/cuda/lanes.cuh"

namespace lychee::attention::cuda {

// How one launch divides its rows. A row's work is the concatenation of its heads' ranges in units
// of 16 tokens; it is cut into `parts` equal ones, whatever the rows beside it, so that a row's
// rounding does not depend on its batch.
constexpr int kUnitTokens = 16;
constexpr int kMinUnitsPerPart = 8;  // 64 KB of bf16 at head_dim 128: below, merging costs more
constexpr int kLapShift = 5;         // blocks

// This block's ranges, in order. Whoever wants them walks them by itself, a whole warp; lane h
// looks after KV head h. Where a head of a row reads a set, whose length an earlier kernel may
// still be writing, the walk waits for that kernel, unless told that there is none.
class RangeIterator {
 public:
  __device__ RangeIterator(const HybridDecodeParams& params, int max_parts)
      : params_(params), max_parts_(max_parts), lane_(static_cast<int>(threadIdx.x % 32)) {
    next_ = ask_for_row(0);
    later_ = ask_for_row(1);
    may_read_sets_ = params.sets_are_early;
  }

  // False at the end.
  __device__ bool next(Range& range) {
    while (unit_ >= end_unit_) {
      if (++row_ >= params_.batch) {
        return false;
      }
      enter_row();
    }
    const int head = __ffs(static_cast<int>(__ballot_sync(kAllLanes, units_end_ > unit_))) - 1;
    const int head_end = __shfl_sync(kAllLanes, units_end_, head);
    const int head_begin = head == 0 ? 0 : __shfl_sync(kAllLanes, units_end_, head - 1);
    range.row = row_;
    range.kv_head = head;
    range.set = __shfl_sync(kAllLanes, head_.set, head);
    range.len = __shfl_sync(kAllLanes, len_, head);
    range.newest = __shfl_sync(kAllLanes, head_.kv_len, 0) - 1;
    range.begin = unit_ - head_begin;
    range.end = min(end_unit_, head_end) - head_begin;
    range.part = part_;
    range.first_part = part_of(head_begin);
    range.num_parts = part_of(head_end - 1) - range.first_part + 1;
    unit_ = min(end_unit_, head_end);
    return true;
  }

 private:
  // What is known of this lane's head of a row: its set, and the lengths.
  struct Head {
    int set = HybridDecodeParams::kDense;
    int kv_len = 0;
    int num_ids = 0;
    bool has_num_ids = false;  // num_ids has been asked for
  };

  // Sets are asked for two rows ahead and the numbers of their tokens one, to have the answers when
  // they are wanted.
  [[nodiscard]] __device__ Head ask_for_row(int row) const {
    Head head;
    if (row < params_.batch && lane_ < params_.num_kv_heads) {
      head.set = params_.set_of_head[int64_t{row} * params_.num_kv_heads + lane_];
      head.kv_len = static_cast<int>(params_.kv_lens[row]);
    }
    return head;
  }
  __device__ void ask_for_num_ids(Head& head) const {
    head.has_num_ids = true;
    if (head.set != HybridDecodeParams::kDense) {
      head.num_ids = __ldcg(params_.num_ids + head.set);
    }
  }

  __device__ void enter_row() {
    head_ = next_;
    if (__any_sync(kAllLanes, head_.set != HybridDecodeParams::kDense) && !may_read_sets_) {
      wait_for_predecessors();
      may_read_sets_ = true;
    }
    if (!head_.has_num_ids) {
      ask_for_num_ids(head_);
    }
    next_ = later_;
    if (may_read_sets_) {
      ask_for_num_ids(next_);
    }
    later_ = ask_for_row(row_ + 2);
    len_ = head_.set == HybridDecodeParams::kDense ? head_.kv_len : head_.num_ids;
    int units = 0;
    if (lane_ < params_.num_kv_heads) {
      units = max(1, (len_ + kUnitTokens - 1) / kUnitTokens);  // an empty head writes its zeros
    }
    units_end_ = sum_to_lane(units);
    total_ = __shfl_sync(kAllLanes, units_end_, 31);
    parts_ = min(max_parts_, max(1, total_ / kMinUnitsPerPart));
    const int grid = static_cast<int>(gridDim.x);
    part_ = static_cast<int>(blockIdx.x) - first_block_;
    part_ += part_ < 0 ? grid : 0;
    // A row begins where the last one ended, and kLapShift later each time around the blocks: where
    // a head ends within a part, that part takes longer, and heads of equal length else end in the
    // same blocks in every row.
    first_block_ += parts_;
    if (first_block_ >= grid) {
      first_block_ += kLapShift;
      while (first_block_ >= grid) {
        first_block_ -= grid;
      }
    }
    unit_ = 0;
    end_unit_ = 0;
    if (part_ < parts_) {
      const int whole =
          static_cast<int>(static_cast<uint32_t>(total_) / static_cast<uint32_t>(parts_));
      const int rest = total_ - whole * parts_;
      const float inverse = __fdividef(1.0F, static_cast<float>(parts_));
      unit_ = whole * part_ + share_of(rest, part_, inverse);
      end_unit_ = whole * (part_ + 1) + share_of(rest, part_ + 1, inverse);
    }
  }

  [[nodiscard]] __device__ int part_of(int unit) const {
    return static_cast<int>((static_cast<uint32_t>(unit + 1) * static_cast<uint32_t>(parts_) - 1) /
                            static_cast<uint32_t>(total_));
  }

  // rest · by / over, rounded down, of numbers up to `over`, whose inverse is given to within a few
  // roundings. A true division takes 20 instructions more, and every block waits for what stands
  // before its first load. Exact up to 1024 parts: half a unit is added, so that the quotient is
  // 0.5 / over or more from whole numbers, and the error is less than 2^-21 of it.
  [[nodiscard]] static __device__ int share_of(int rest, int by, float inverse) {
    return static_cast<int>((static_cast<float>(rest * by) + 0.5F) * inverse);
  }

  const HybridDecodeParams& params_;
  int max_parts_;
  int lane_;
  int row_ = -1;
  bool may_read_sets_;
  Head head_, next_, later_;     // of the row and the next two
  int len_ = 0, units_end_ = 0;  // of this lane's head
  int total_ = 0, parts_ = 0, part_ = 0;
  int first_block_ = 0;  // that computes part 0
  int unit_ = 0, end_unit_ = 0;
};

}  // namespace lychee::attention::cuda
