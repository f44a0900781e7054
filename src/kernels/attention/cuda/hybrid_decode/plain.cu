#include "base/check.h"
#include "kernels/attention/cuda/hybrid_decode/launch.h"
#include "kernels/attention/cuda/hybrid_decode/merge.cuh"
#include "kernels/attention/cuda/paged_kv.cuh"
#include "tensor/cuda/check.h"

namespace lychee::attention::cuda {

namespace {

constexpr int kNumWarps = 4;
constexpr int kNumThreads = kNumWarps * 32;
constexpr int kMaxHeadDim = 256;
constexpr int kDimsPerLane = kMaxHeadDim / 32;
constexpr int kMaxSplits = 16;  // of a head's tokens; fixed, so that rounding depends on them alone
constexpr int kMinTokensPerSplit = 128;
constexpr float kLog2E = 1.44269504088896340736F;

struct SharedStorage {
  float acc[kNumWarps][kMaxHeadDim];
  SoftmaxState state[kNumWarps];
  float weights[kMaxSplits];
  float4 sums[kNumThreads];
  SoftmaxState merged;
  int is_last;
};

// One warp's tokens of one query head. Lane l holds dimensions l, l + 32, …
template <typename T>
struct PlainAttention {
  const HybridDecodeParams& params;
  int lane;
  float k_scale;
  float query[kDimsPerLane];
  float mean_query[kDimsPerLane];
  float acc[kDimsPerLane];
  SoftmaxState state;

  __device__ float dot(const float (&q)[kDimsPerLane], const T* k) const {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kDimsPerLane; ++i) {
      const int dim = i * 32 + lane;
      sum += dim < params.head_dim ? q[i] * to_float(k[dim]) : 0.0F;
    }
    return sum_over_lanes<1, 32>(sum) * k_scale;
  }
  __device__ void add(const T* k, const T* v) {
    const float x = dot(query, k) * (params.scale * kLog2E);
    const float max = fmaxf(state.max, x);
    const float factor = SoftmaxState::rescale(state.max, max);
    const float weight = SoftmaxState::rescale(x, max);
#pragma unroll
    for (int i = 0; i < kDimsPerLane; ++i) {
      const int dim = i * 32 + lane;
      acc[i] = acc[i] * factor + (dim < params.head_dim ? weight * to_float(v[dim]) : 0.0F);
    }
    state = {max, state.sum * factor + weight};
  }
};

template <typename T>
__device__ void load_queries(PlainAttention<T>& attention, const float* q, int head,
                             int group_size) {
  const int head_dim = attention.params.head_dim;
#pragma unroll
  for (int i = 0; i < kDimsPerLane; ++i) {
    const int dim = i * 32 + attention.lane;
    const bool exists = dim < head_dim;
    float mean = 0;
    for (int g = 0; g < group_size; ++g) {
      mean += exists ? q[g * head_dim + dim] : 0.0F;
    }
    attention.query[i] = exists ? q[head * head_dim + dim] : 0.0F;
    attention.mean_query[i] = mean / static_cast<float>(group_size);
    attention.acc[i] = 0;
  }
}

// Merges the warps of the block into its slot, or to the output if the head has one split.
__device__ void merge_plain_warps(SharedStorage& smem, const HeadResult& result, bool whole,
                                  const Partials& partials, int64_t slot) {
  SoftmaxState total;
  for (int warp = 0; warp < kNumWarps; ++warp) {
    total.max = fmaxf(total.max, smem.state[warp].max);
  }
  float weights[kNumWarps];
  for (int warp = 0; warp < kNumWarps; ++warp) {
    weights[warp] = SoftmaxState::rescale(smem.state[warp].max, total.max);
    total.sum += weights[warp] * smem.state[warp].sum;
  }
  for (int dim = static_cast<int>(threadIdx.x); dim < result.head_dim; dim += kNumThreads) {
    float sum = 0;
    for (int warp = 0; warp < kNumWarps; ++warp) {
      sum += weights[warp] * smem.acc[warp][dim];
    }
    if (whole) {
      const float value = sum * total.normalizer() * result.v_scale;
      if (result.out != nullptr) {
        result.out[dim] = value;
      }
      if (result.rounded_out != nullptr) {
        reinterpret_cast<__nv_bfloat16*>(result.rounded_out)[dim] = __float2bfloat16_rn(value);
      }
    } else {
      partials.acc[slot * result.head_dim + dim] = sum;
    }
  }
  if (threadIdx.x == 0) {
    if (!whole) {
      partials.state[slot] = {total.max, total.sum};
    } else if (result.lse != nullptr) {
      *result.lse = total.lse();
    }
  }
}

// Counts this block in and tells all of its threads whether it was the last of `count`, which may
// then read what the others wrote before. Leaves the counter at zero.
__device__ bool arrive_last(int32_t* arrivals, int count, int* is_last) {
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    *is_last = atomicAdd(arrivals, 1) == count - 1 ? 1 : 0;
    if (*is_last != 0) {
      *arrivals = 0;
      __threadfence();
    }
  }
  __syncthreads();
  return *is_last != 0;
}

// grid: (splits, query heads, batch).
template <typename T>
__global__ void __launch_bounds__(kNumThreads)
    plain_decode_kernel(const __grid_constant__ HybridDecodeParams params,
                        const __grid_constant__ DecodeWorkspace workspace) {
  __shared__ SharedStorage smem;
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int group_size = params.num_q_heads / params.num_kv_heads;
  const int64_t row = blockIdx.z;
  const int q_head = static_cast<int>(blockIdx.y);
  const int kv_head = q_head / group_size;
  const int64_t item = row * params.num_kv_heads + kv_head;
  const int64_t q_row = row * params.num_q_heads + q_head;
  const int32_t set = params.set_of_head[item];
  const bool dense = set == HybridDecodeParams::kDense;
  const int64_t len = dense ? params.kv_lens[row] : params.num_ids[set];
  const int splits =
      static_cast<int>(min(int64_t{kMaxSplits}, max(int64_t{1}, len / kMinTokensPerSplit)));
  const int split = static_cast<int>(blockIdx.x);
  if (split >= splits) {
    return;
  }
  PlainAttention<T> attention{params, lane,
                              params.kv.k_scales == nullptr ? 1 : params.kv.k_scales[kv_head]};
  load_queries(attention, params.q + item * group_size * params.head_dim, q_head % group_size,
               group_size);
  const bool emits = dense && q_head % group_size == 0 && params.scores != nullptr &&
                     params.emit_scores != nullptr && params.emit_scores[item] != 0;
  const int64_t end = len * (split + 1) / splits;
  for (int64_t i = len * split / splits + warp; i < end; i += kNumWarps) {
    const int64_t position = dense ? i : params.token_ids[set * params.token_ids_stride + i];
    const int64_t offset = device_kv_offset(
        params.kv, params.page_tables + row * params.page_table_stride, position, kv_head);
    const T* k = static_cast<const T*>(params.kv.k) + offset;
    attention.add(k, static_cast<const T*>(params.kv.v) + offset);
    if (emits) {
      const float score = attention.dot(attention.mean_query, k);
      if (lane == 0) {
        params.scores[item * params.scores_stride + position] = score;
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kDimsPerLane; ++i) {
    smem.acc[warp][i * 32 + lane] = attention.acc[i];
  }
  if (lane == 0) {
    smem.state[warp] = attention.state;
  }
  __syncthreads();
  const HeadResult result = head_result(
      params, q_row, 1, params.kv.v_scales == nullptr ? 1 : params.kv.v_scales[kv_head]);
  auto* acc = static_cast<float*>(workspace.memory);
  const int64_t num_slots = int64_t{params.batch} * params.num_q_heads * kMaxSplits;
  const Partials partials{
      acc + q_row * kMaxSplits * params.head_dim,
      reinterpret_cast<float2*>(acc + num_slots * params.head_dim) + q_row * kMaxSplits};
  merge_plain_warps(smem, result, splits == 1, partials, split);
  if (splits > 1 && arrive_last(params.arrivals + q_row, splits, &smem.is_last)) {
    merge_partials<kNumThreads>(partials, 0, splits, result, smem.weights, &smem.merged, smem.sums);
  }
}

template <typename T>
void launch(const HybridDecodeParams& params, const DecodeWorkspace& workspace,
            cudaStream_t stream) {
  const dim3 grid(kMaxSplits, static_cast<unsigned>(params.num_q_heads),
                  static_cast<unsigned>(params.batch));
  plain_decode_kernel<T><<<grid, kNumThreads, 0, stream>>>(params, workspace);
  cuda_check(cudaGetLastError());
}

}  // namespace

void launch_plain_decode(const HybridDecodeParams& params, const DecodeWorkspace& workspace,
                         cudaStream_t stream) {
  require(params.head_dim <= kMaxHeadDim, ErrorCode::kUnsupported, "head_dim ", params.head_dim,
          " is above ", kMaxHeadDim, ", the largest of the CUDA backend; use --device cpu");
  dispatch_kv_dtype(params.kv.dtype,
                    [&](auto element) { launch<decltype(element)>(params, workspace, stream); });
}

}  // namespace lychee::attention::cuda
