#pragma once

#include "kernels/attention/cuda/hybrid_decode/merge.cuh"
#include "kernels/attention/cuda/hybrid_decode/split.cuh"
#include "kernels/attention/cuda/hybrid_decode/tile.cuh"
#include "kernels/attention/cuda/hybrid_decode/workspace.h"

namespace lychee::attention::cuda {

// One tile on its way into a warp's ring. Its lanes l and l + 16 stand for token l of the tile.
struct TileFetch {
  int row = 0;
  int kv_head = 0;
  int count = 0;  // tokens of it that exist
  int token = 0;  // position of the lane's token
  int page = 0;
};

// Keeps a warp's ring filled. Token ids are asked for two tiles ahead and pages one, so that
// neither latency is ever waited for.
template <typename Traits>
class TileLoader {
 public:
  __device__ TileLoader(const HybridDecodeParams& params, int max_parts, int warp, uint32_t ring)
      : params_(params), ranges_(params, max_parts), warp_(warp), ring_(ring) {
    constexpr int64_t kChunkElements = Traits::kIsFp8 ? 16 : 8;
    page_chunks_ = static_cast<uint32_t>(params.kv.page_stride / kChunkElements);
    head_chunks_ = static_cast<uint32_t>(params.kv.head_stride / kChunkElements);
    token_chunks_ = static_cast<uint32_t>(params.kv.token_stride / kChunkElements);
    find_next();
    advance();
    find_next();
    for (int stage = 0; stage < Traits::kNumStages; ++stage) {
      load(stage);
    }
  }

  // Starts the copies of the next tile into `stage`, or closes an empty group at the end.
  __device__ void load(int stage) {
    if (has_current_) {
      copy(stage);
    }
    commit_copies();
    advance();
    find_next();
  }

 private:
  static constexpr int kChunksPerRow = Traits::kRowBytes / 16;
  static constexpr int kRowsPerCopy = 32 / kChunksPerRow;

  __device__ void copy(int stage) {
    const int lane = static_cast<int>(threadIdx.x % 32);
    const uint32_t offset = static_cast<uint32_t>(current_.page) * page_chunks_ +
                            static_cast<uint32_t>(current_.kv_head) * head_chunks_ +
                            static_cast<uint32_t>(current_.token % kPageSize) * token_chunks_;
    const uint32_t k_tile = ring_ + static_cast<uint32_t>(stage * 2 * Traits::kPlaneBytes);
    const int chunk = lane % kChunksPerRow;
    const auto* k = static_cast<const char*>(params_.kv.k) + chunk * 16;
    const auto* v = static_cast<const char*>(params_.kv.v) + chunk * 16;
#pragma unroll
    for (int i = 0; i < Traits::kTileTokens / kRowsPerCopy; ++i) {
      const int row = i * kRowsPerCopy + lane / kChunksPerRow;
      const int64_t from = int64_t{__shfl_sync(kAllLanes, offset, row)} * 16;
      const uint32_t to =
          k_tile + 16 * static_cast<uint32_t>(chunk_slot<kChunksPerRow>(row, chunk));
      copy_async_16(to, k + from, row < current_.count);
      copy_async_16(to + Traits::kPlaneBytes, v + from, row < current_.count);
    }
  }

  // The tile found last becomes the current one: asks for its pages.
  __device__ void advance() {
    has_current_ = has_next_;
    current_ = next_;
    if (has_current_ && current_.count > 0) {
      current_.page = __ldg(params_.page_tables + current_.row * params_.page_table_stride +
                            current_.token / kPageSize);
    }
  }

  // Finds this warp's next tile and asks for its token ids.
  __device__ void find_next() {
    while (unit_ >= range_.end) {
      if (!ranges_.next(range_)) {
        has_next_ = false;
        range_.end = 0;
        unit_ = 0;
        return;
      }
      unit_ = range_.begin + warp_;
    }
    const int first = unit_ * kUnitTokens;
    const int index = min(first + static_cast<int>(threadIdx.x % 16), range_.len - 1);
    next_.row = range_.row;
    next_.kv_head = range_.kv_head;
    next_.count = min(kUnitTokens, range_.len - first);
    next_.token = index;
    next_.page = 0;
    if (range_.set != HybridDecodeParams::kDense && next_.count > 0) {
      next_.token = __ldg(params_.token_ids + range_.set * params_.token_ids_stride + index);
    }
    has_next_ = true;
    unit_ += Traits::kNumWarps;
  }

  const HybridDecodeParams& params_;
  RangeIterator ranges_;
  Range range_{};
  int unit_ = 0;
  int warp_;
  uint32_t ring_;
  uint32_t page_chunks_, head_chunks_, token_chunks_;  // strides in chunks of 16 bytes
  bool has_current_ = false;
  bool has_next_ = false;
  TileFetch current_;
  TileFetch next_;
};

// Merges the warps' results of one head tile: to the outputs if the range is the whole head, else
// to the range's slot in the workspace.
template <typename Traits>
__device__ void merge_warps(typename Traits::SharedStorage& smem, int tile, bool whole,
                            const HeadResult& result, const Partials& partials, int slot) {
  const int vector = static_cast<int>(threadIdx.x);
  const int local_head = vector * 4 / Traits::kHeadDim;
  const int dim = vector * 4 % Traits::kHeadDim;
  const int head = tile * kHeadsPerTile + local_head;
  if (local_head >= kHeadsPerTile || head >= result.group_size) {
    return;
  }
  SoftmaxState total;
#pragma unroll
  for (int warp = 0; warp < Traits::kNumWarps; ++warp) {
    total.max = fmaxf(total.max, smem.max[warp][local_head]);
  }
  float4 sum = {0, 0, 0, 0};
#pragma unroll
  for (int warp = 0; warp < Traits::kNumWarps; ++warp) {
    const float weight = SoftmaxState::rescale(smem.max[warp][local_head], total.max);
    const float4 value = *reinterpret_cast<const float4*>(&smem.acc[warp][local_head][dim]);
    total.sum += weight * smem.sum[warp][local_head];
    sum.x += weight * value.x;
    sum.y += weight * value.y;
    sum.z += weight * value.z;
    sum.w += weight * value.w;
  }
  if (whole) {
    const float scale = total.normalizer() * result.v_scale;
    sum = {sum.x * scale, sum.y * scale, sum.z * scale, sum.w * scale};
    *reinterpret_cast<float4*>(result.out + head * Traits::kHeadDim + dim) = sum;
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

template <typename Traits>
[[nodiscard]] __device__ HeadResult head_result(const HybridDecodeParams& params,
                                                const Range& range) {
  const int group_size = params.num_q_heads / params.num_kv_heads;
  const int64_t q_row = (int64_t{range.row} * params.num_kv_heads + range.kv_head) * group_size;
  return {params.out + q_row * Traits::kHeadDim,
          params.lse == nullptr ? nullptr : params.lse + q_row, group_size, Traits::kHeadDim,
          params.kv.v_scales == nullptr ? 1 : params.kv.v_scales[range.kv_head]};
}

// One block's announcement that its part of a head is in the workspace.
struct Arrival {
  Range range;
  int32_t* counter = nullptr;  // null: nothing was announced
  int others = 0;              // that came before; the thread that speaks knows

  // One thread alone, since a fence waits for all loads of its warp that are under way.
  [[nodiscard]] static __device__ bool speaks() { return threadIdx.x == blockDim.x - 1; }

  // After a barrier behind the last write of the part.
  __device__ void begin(const HybridDecodeParams& params, const Range& of, int64_t item) {
    range = of;
    counter = of.num_parts == 1 ? nullptr : params.arrivals + item;
    if (counter != nullptr && speaks()) {
      __threadfence();
      others = atomicAdd(counter, 1);
    }
  }
  // Tells all threads whether all other parts were there, and may be read; then the counter is back
  // at zero.
  [[nodiscard]] __device__ bool is_last(int& shared) const {
    if (counter == nullptr) {
      return false;
    }
    if (speaks()) {
      shared = others == range.num_parts - 1 ? 1 : 0;
      if (shared != 0) {
        *counter = 0;
        __threadfence();
      }
    }
    __syncthreads();
    return shared != 0;
  }
};

// Merges all parts of a head.
template <typename Traits>
__device__ void merge_head(const HybridDecodeParams& params, const DecodeWorkspace& workspace,
                           const Range& range, typename Traits::SharedStorage& smem) {
  auto* weights = &smem.acc[0][0][0];
  auto* sums = reinterpret_cast<float4*>(weights + DecodeWorkspace::kMaxParts * 16);
  auto* states = reinterpret_cast<SoftmaxState*>(sums + Traits::kNumThreads);
  merge_partials<Traits::kNumThreads>(workspace.partials(range.row, params),
                                      range.first_part + range.kv_head, range.num_parts,
                                      head_result<Traits>(params, range), weights, states, sums);
}

// Asks for what the block will soon want of small inputs that are scattered over memory: pages,
// token ids, queries. Then the chain from a length to the first row of K waits once for memory and
// else for the cache.
__device__ inline void prefetch_inputs(const HybridDecodeParams& params) {
  constexpr int kLine = 32;  // int32s and floats of a cache line
  const int64_t thread = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int64_t items = int64_t{params.batch} * params.num_kv_heads;
  const int64_t page_lines = (params.batch * params.page_table_stride + kLine - 1) / kLine;
  if (thread < page_lines) {
    prefetch_to_l2(params.page_tables + thread * kLine);
  }
  const int64_t query_lines = int64_t{params.batch} * params.num_q_heads * params.head_dim / kLine;
  if (thread < query_lines) {
    prefetch_to_l2(params.q + thread * kLine);
  }
  const int64_t set_lines = (params.token_ids_stride + kLine - 1) / kLine;
  if (thread < items * set_lines) {
    const int set = params.set_of_head[thread / set_lines];
    if (set != HybridDecodeParams::kDense) {
      prefetch_to_l2(params.num_ids + set);
      prefetch_to_l2(params.token_ids + set * params.token_ids_stride + thread % set_lines * kLine);
    }
  }
}

// grid: one block a multiprocessor. Each block walks its ranges (split.cuh); in a range, warp w
// takes units w, w + kNumWarps, …
template <typename Traits>
__global__ void __launch_bounds__(Traits::kNumThreads, 1)
    hybrid_decode_kernel(const __grid_constant__ HybridDecodeParams params,
                         const __grid_constant__ DecodeWorkspace workspace) {
  extern __shared__ unsigned char raw_smem[];
  auto& smem = *reinterpret_cast<typename Traits::SharedStorage*>(raw_smem);
  const int warp = static_cast<int>(threadIdx.x / 32);
  const uint32_t ring = shared_address(&smem.ring[warp][0][0][0]);
  const int group_size = params.num_q_heads / params.num_kv_heads;

  prefetch_inputs(params);
  TileLoader<Traits> loader(params, workspace.max_parts, warp, ring);
  RangeIterator ranges(params, workspace.max_parts);
  WarpAttention<Traits> attention;
  Arrival arrival;
  Range range;
  int stage = 0;
  while (ranges.next(range)) {
    const int64_t item = int64_t{range.row} * params.num_kv_heads + range.kv_head;
    const bool emits = params.scores != nullptr && params.emit_scores != nullptr &&
                       range.set == HybridDecodeParams::kDense && params.emit_scores[item] != 0;
    const float k_scale = params.kv.k_scales == nullptr ? 1 : params.kv.k_scales[range.kv_head];
    attention.begin(params.q + item * group_size * Traits::kHeadDim, group_size, params.scale,
                    k_scale);
    for (int unit = range.begin + warp; unit < range.end; unit += Traits::kNumWarps) {
      const int first = unit * kUnitTokens;
      wait_for_copies<Traits::kNumStages - 1>();
      __syncwarp();
      const uint32_t k_tile = ring + static_cast<uint32_t>(stage * 2 * Traits::kPlaneBytes);
      attention.add_tile(k_tile, k_tile + Traits::kPlaneBytes, min(kUnitTokens, range.len - first),
                         emits ? params.scores + item * params.scores_stride + first : nullptr);
      __syncwarp();
      loader.load(stage);
      stage = stage + 1 == Traits::kNumStages ? 0 : stage + 1;
    }
    const Partials partials = workspace.partials(range.row, params);
    const HeadResult result = head_result<Traits>(params, range);
    const bool whole = range.num_parts == 1;
#pragma unroll
    for (int tile = 0; tile < Traits::kHeadTiles; ++tile) {
      attention.store(tile, smem.acc[warp], smem.max[warp], smem.sum[warp]);
      __syncthreads();
      merge_warps<Traits>(smem, tile, whole, result, partials, range.part + range.kv_head);
      __syncthreads();
    }
    // Whether this block was the last of a head is looked up at the end of its next range, when the
    // answer has long been there.
    const bool merges = arrival.is_last(smem.is_last);
    const Arrival last = arrival;
    arrival.begin(params, range, item);
    if (merges) {
      merge_head<Traits>(params, workspace, last.range, smem);
    }
  }
  __syncthreads();  // nobody reads the flag of the last range any more
  if (arrival.is_last(smem.is_last)) {
    merge_head<Traits>(params, workspace, arrival.range, smem);
  }
}

}  // namespace lychee::attention::cuda
