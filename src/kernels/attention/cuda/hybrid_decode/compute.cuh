#pragma once

#include "kernels/attention/cuda/hybrid_decode/merge.cuh"
#include "kernels/attention/cuda/hybrid_decode/split.cuh"
#include "kernels/attention/cuda/hybrid_decode/tile.cuh"
#include "kernels/attention/cuda/hybrid_decode/workspace.h"
#include "kernels/cuda/barrier.cuh"

namespace lychee::attention::cuda {

// One of the warps that do the jobs. The block's tiles, range after range, are numbered as in
// loader.cuh; warp w computes every kNumComputers-th from w on. In a range it plays the role of the
// number of the first one that it may take, from the range's begin: results are merged by roles, so
// that they do not depend on what the block did before.
template <typename Traits>
class Computer {
 public:
  __device__ Computer(const HybridDecodeParams& params, const DecodeWorkspace& workspace,
                      typename Traits::SharedStorage& smem)
      : params_(params),
        workspace_(workspace),
        smem_(smem),
        role_(static_cast<int>(threadIdx.x / 32)),
        stage_(role_) {}

  __device__ void run() {
    int slot = 0;
    uint32_t phase = 0;
    while (true) {
      wait_for_phase(smem_.given[slot], phase);
      const Job& job = smem_.jobs[slot];
      if (job.kind == JobKind::kEnd) {
        return;
      }
      if (job.kind == JobKind::kMerge) {
        merge_head(job);
      } else {
        attend(job, smem_.query[slot]);
      }
      if (job.ends) {
        return;
      }
      arrive_as_warp(smem_.done[slot]);
      if (++slot == Traits::kNumJobs) {
        slot = 0;
        phase ^= 1;
      }
    }
  }

 private:
  static constexpr int kScratchBytes =
      (DecodeWorkspace::kMaxParts * 4 + 8) * Traits::kHeadTiles * kHeadsPerTile +
      Traits::kComputeThreads * 16;
  static_assert(kScratchBytes <=
                static_cast<int>(sizeof(Traits::SharedStorage::acc)));  // of merge_head

  __device__ void attend(const Job& job, const float* query) {
    const int group_size = params_.num_q_heads / params_.num_kv_heads;
    attention_.begin(query, group_size, params_.scale, job.k_scale);
    add_tiles(job);
    const Range& range = job.range;
    const int64_t item = int64_t{range.row} * params_.num_kv_heads + range.kv_head;
    const Partials partials = workspace_.partials(range.row, params_);
    const HeadResult result = head_result(params_, item * group_size, group_size, job.v_scale);
#pragma unroll
    for (int tile = 0; tile < Traits::kHeadTiles; ++tile) {
      wait_for_merge();
      attention_.store(tile, smem_.acc[role_], smem_.max[role_], smem_.sum[role_]);
      sync_threads<1, Traits::kComputeThreads>();
      merge_warps(tile, range.num_parts == 1, result, partials, range.part + range.kv_head);
      arrive_as_warp(smem_.merged);
      merge_phase_ ^= 1;
    }
    role_ = next_role_;
  }

  // This warp's tiles of a range.
  __device__ void add_tiles(const Job& job) {
    const int end = job.range.end;
    const int len = job.range.len;
    float* scores = nullptr;
    if (job.emits) {
      const int64_t item = int64_t{job.range.row} * params_.num_kv_heads + job.range.kv_head;
      scores = params_.scores + item * params_.scores_stride;
    }
    int unit = job.range.begin + role_;
    for (; unit < end; unit += Traits::kNumComputers) {
      const int first = unit * kUnitTokens;
      uint64_t& emptied = smem_.emptied[stage_];
      const uint32_t k_tile = shared_address(&smem_.ring[stage_][0][0]);
      wait_for_phase(smem_.filled[stage_], phase_);
      attention_.add_tile(k_tile, k_tile + Traits::kPlaneBytes, min(kUnitTokens, len - first),
                          scores == nullptr ? nullptr : scores + first,
                          [&] { arrive_as_warp(emptied); });
      stage_ += Traits::kNumComputers;
      if (stage_ >= Traits::kNumStages) {
        stage_ -= Traits::kNumStages;
        phase_ ^= 1;
      }
    }
    next_role_ = unit - end;
  }

  // Until all warps have read what the last merge found in shared memory.
  __device__ void wait_for_merge() {
    wait_for_phase(smem_.merged, merge_phase_ ^ 1);
  }

  // Merges the warps' results of one head tile: to the outputs if the range is the whole head, else
  // to the range's slot in the workspace.
  __device__ void merge_warps(int tile, bool whole, const HeadResult& result,
                              const Partials& partials, int slot) {
    const int vector = static_cast<int>(threadIdx.x);
    const int local_head = vector * 4 / Traits::kHeadDim;
    const int dim = vector * 4 % Traits::kHeadDim;
    const int head = tile * kHeadsPerTile + local_head;
    if (local_head >= kHeadsPerTile || head >= result.group_size) {
      return;
    }
    SoftmaxState total;
#pragma unroll
    for (int role = 0; role < Traits::kNumComputers; ++role) {
      total.max = fmaxf(total.max, smem_.max[role][local_head]);
    }
    float4 sum = {0, 0, 0, 0};
#pragma unroll
    for (int role = 0; role < Traits::kNumComputers; ++role) {
      const float weight = SoftmaxState::rescale(smem_.max[role][local_head], total.max);
      total.sum += weight * smem_.sum[role][local_head];
      add_weighted(sum, weight,
                   *reinterpret_cast<const float4*>(&smem_.acc[role][local_head][dim]));
    }
    if (whole) {
      const float scale = total.normalizer() * result.v_scale;
      result.write((head * Traits::kHeadDim + dim) / 4,
                   {sum.x * scale, sum.y * scale, sum.z * scale, sum.w * scale});
      if (result.lse != nullptr && dim == 0) {
        result.lse[head] = total.lse();
      }
      return;
    }
    const int64_t entry = int64_t{slot} * result.group_size + head;
    __stcg(reinterpret_cast<float4*>(partials.acc + entry * Traits::kHeadDim + dim), sum);
    if (dim == 0) {
      __stcg(&partials.state[entry], {total.max, total.sum});
    }
  }

  // Merges all parts of a head.
  __device__ void merge_head(const Job& job) {
    wait_for_merge();
    const Range& range = job.range;
    const int group_size = params_.num_q_heads / params_.num_kv_heads;
    const int64_t item = int64_t{range.row} * params_.num_kv_heads + range.kv_head;
    auto* sums = reinterpret_cast<float4*>(&smem_.acc[0][0][0]);
    auto* states = reinterpret_cast<SoftmaxState*>(sums + Traits::kComputeThreads);
    auto* weights = reinterpret_cast<float*>(states + Traits::kHeadTiles * kHeadsPerTile);
    merge_partials<Traits::kComputeThreads>(
        workspace_.partials(range.row, params_), range.first_part + range.kv_head, range.num_parts,
        head_result(params_, item * group_size, group_size, job.v_scale), weights, states, sums);
  }

  const HybridDecodeParams& params_;
  const DecodeWorkspace& workspace_;
  typename Traits::SharedStorage& smem_;
  WarpAttention<Traits> attention_;
  int role_;
  int next_role_ = 0;
  int stage_;
  uint32_t phase_ = 0;
  uint32_t merge_phase_ = 0;
};

}  // namespace lychee::attention::cuda
