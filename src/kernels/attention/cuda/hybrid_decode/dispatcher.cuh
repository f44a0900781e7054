#pragma once

#include <cuda/atomic>

#include "kernels/attention/cuda/hybrid_decode/newest_token.cuh"
#include "kernels/attention/cuda/hybrid_decode/split.cuh"
#include "kernels/attention/cuda/hybrid_decode/traits.h"
#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/barrier.cuh"
#include "kernels/cuda/dependent_launch.cuh"

namespace lychee::attention::cuda {

// The warp that hands out the block's ranges with their queries, ahead of time, announces finished
// parts of heads, and finds out which heads this block merges.
//
// Who merges a head, whose parts lie in several blocks: a block announces a part by adding one to
// the head's counter. The last to do so merges the head itself if it has nothing else left to do;
// else it marks the head as complete, and whoever of the head's blocks comes to its end first
// claims it. So blocks that end early take merges off those that do not, and none waits for
// another: each looks at all of its heads after its last announcement, the last announcer too.
// Claimed or merged at once, the counter is back at zero.
template <typename Traits>
class Dispatcher {
 public:
  __device__ Dispatcher(const HybridDecodeParams& params, int max_parts,
                        typename Traits::SharedStorage& smem)
      : params_(params), ranges_(params, max_parts), smem_(smem) {}

  __device__ void run() {
    JobKind kind;
    do {
      Range range{};
      kind = next(range);
      give(kind, range);
    } while (kind != JobKind::kEnd && !ends_);
  }

 private:
  using Counter = ::cuda::atomic_ref<int32_t, ::cuda::thread_scope_device>;
  static constexpr int32_t kComplete = 1 << 30;  // of a counter: all parts are there

  // A head of which this block has announced a part.
  struct SplitHead {
    int row = 0;
    int kv_head = 0;
    int first_part = 0;
    int num_parts = 0;
  };

  [[nodiscard]] static __device__ int lane() { return static_cast<int>(threadIdx.x % 32); }

  [[nodiscard]] __device__ JobKind next(Range& range) {
    while (true) {
      if (!all_given_ && num_split_ + Traits::kNumJobs < 32) {
        if (ranges_.next(range)) {
          return JobKind::kAttend;
        }
        all_given_ = true;
      }
      // The end, or no room to remember more heads. A merge is waited for, so that others may claim
      // the next meanwhile.
      while (finished_ < given_) {
        finish_job();
      }
      if (owns_last_) {
        owns_last_ = false;
        ends_ = all_given_ && !checks_;
        recall(num_split_ - 1, range);
        return JobKind::kMerge;
      }
      if (checks_ && claim(range)) {
        return JobKind::kMerge;
      }
      if (all_given_) {
        return JobKind::kEnd;
      }
      num_split_ = 0;
      checks_ = false;
    }
  }

  __device__ void give(JobKind kind, const Range& range) {
    if (given_ - finished_ == Traits::kNumJobs) {
      finish_job();
    }
    const int slot = given_ % Traits::kNumJobs;
    const int64_t item = int64_t{range.row} * params_.num_kv_heads + range.kv_head;
    Job job{kind, range, 1, 1, false, ends_};
    if (kind == JobKind::kAttend) {
      job.emits = params_.scores != nullptr && params_.emit_scores != nullptr &&
                  range.set == HybridDecodeParams::kDense && params_.emit_scores[item] != 0;
    }
    if (kind != JobKind::kEnd) {
      job.k_scale = params_.kv.k_scales == nullptr ? 1 : params_.kv.k_scales[range.kv_head];
      job.v_scale = params_.kv.v_scales == nullptr ? 1 : params_.kv.v_scales[range.kv_head];
    }
    const bool rotates = kind == JobKind::kAttend && params_.newest.k != nullptr;
    if (kind == JobKind::kAttend) {
      wait_for_predecessors();
      copy_queries(item, slot);
      if (rotates) {
        commit_copies();
        wait_for_copies<0>();
        __syncwarp();  // lanes take what others have copied
        NewestToken<Traits>(params_, range.row, range.kv_head)
            .rotate_queries(smem_.query[slot], params_.num_q_heads / params_.num_kv_heads);
      }
    }
    __syncwarp();  // what a lane has claimed is seen by whoever sees the job
    if (lane() == 0) {
      smem_.jobs[slot] = job;
      arrive(smem_.given[slot]);
    }
    if (rotates) {
      arrive(smem_.given[slot]);
    } else {
      arrive_behind_copies(smem_.given[slot]);
    }
    ++given_;
  }

  __device__ void copy_queries(int64_t item, int slot) {
    const int floats = params_.num_q_heads / params_.num_kv_heads * Traits::kHeadDim;
    const float* from = params_.q + item * floats;
    const uint32_t to = shared_address(smem_.query[slot]);
    for (int i = lane() * 4; i < floats; i += 32 * 4) {
      copy_async_16(to + static_cast<uint32_t>(i) * 4, from + i, true);
    }
  }

  // Waits for the oldest job that is not known to be done.
  __device__ void finish_job() {
    const int slot = finished_ % Traits::kNumJobs;
    wait_for_phase(smem_.done[slot], static_cast<uint32_t>(finished_ / Traits::kNumJobs) & 1);
    ++finished_;
    const Job& job = smem_.jobs[slot];
    if (job.kind == JobKind::kAttend && job.range.num_parts > 1) {
      announce(job.range);
    }
    __syncwarp();  // lane 0 may write the next job there
  }

  // The lane that remembers the head speaks.
  __device__ void announce(const Range& range) {
    const bool is_last = all_given_ && finished_ == given_;
    bool owns = false;
    if (lane() == num_split_) {
      split_ = {range.row, range.kv_head, range.first_part, range.num_parts};
      const Counter counter = counter_of(split_);
      if (counter.fetch_add(1, ::cuda::memory_order_acq_rel) == split_.num_parts - 1) {
        owns = is_last;
        if (is_last) {
          counter.store(0, ::cuda::memory_order_relaxed);
        } else {
          counter.store(kComplete, ::cuda::memory_order_release);
        }
      }
    }
    ++num_split_;
    owns_last_ = __any_sync(kAllLanes, owns) != 0;
    checks_ = checks_ || !is_last;
  }

  [[nodiscard]] __device__ Counter counter_of(const SplitHead& head) const {
    return Counter(params_.arrivals[int64_t{head.row} * params_.num_kv_heads + head.kv_head]);
  }

  // Takes one of the heads announced so far that is complete and that no other block takes, if
  // there is one. Blocks begin with different ones.
  [[nodiscard]] __device__ bool claim(Range& range) {
    while (true) {
      const bool complete =
          lane() < num_split_ && counter_of(split_).load(::cuda::memory_order_relaxed) == kComplete;
      const uint32_t found = __ballot_sync(kAllLanes, complete);
      if (found == 0) {
        return false;
      }
      const uint32_t first = blockIdx.x % static_cast<uint32_t>(num_split_);
      const uint32_t later = found >> first << first;
      const int head = __ffs(static_cast<int>(later != 0 ? later : found)) - 1;
      bool claimed = false;
      if (lane() == head) {
        int32_t expected = kComplete;
        claimed =
            counter_of(split_).compare_exchange_strong(expected, 0, ::cuda::memory_order_acquire);
      }
      if (__any_sync(kAllLanes, claimed)) {
        recall(head, range);
        return true;
      }
    }
  }

  // The head that lane `of` remembers.
  __device__ void recall(int of, Range& range) const {
    range.row = __shfl_sync(kAllLanes, split_.row, of);
    range.kv_head = __shfl_sync(kAllLanes, split_.kv_head, of);
    range.first_part = __shfl_sync(kAllLanes, split_.first_part, of);
    range.num_parts = __shfl_sync(kAllLanes, split_.num_parts, of);
  }

  const HybridDecodeParams& params_;
  RangeIterator ranges_;
  typename Traits::SharedStorage& smem_;
  int given_ = 0;     // jobs
  int finished_ = 0;  // of them
  bool all_given_ = false;
  SplitHead split_;  // of this lane
  int num_split_ = 0;
  bool owns_last_ = false;  // the head announced last
  bool ends_ = false;       // with the job given last
  bool checks_ = false;     // a head other than that may have become complete
};

}  // namespace lychee::attention::cuda
