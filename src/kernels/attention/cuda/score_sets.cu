#include "kernels/attention/score_sets.h"
#include "tensor/cuda/check.h"

namespace lychee::attention::cuda {

namespace {

constexpr int kNumThreads = 256;
constexpr int kBlocksPerRow = 32;

// grid: one block a row.
__global__ void __launch_bounds__(kNumThreads)
    streaming_sets_kernel(const __grid_constant__ StreamingSetParams params) {
  const int64_t row = blockIdx.x;
  const int64_t kv_len = params.kv_lens[row];
  const Selection& selection = params.selection;
  int64_t budget = selection.budget;
  if (selection.mode == SelectMode::kRatio) {
    const auto share = static_cast<int64_t>(ceil(selection.ratio * static_cast<double>(kv_len)));
    budget = max(int64_t{selection.sink} + selection.recent, share);
  }
  const int64_t count = min(budget, kv_len);
  for (int64_t i = threadIdx.x; i < count; i += kNumThreads) {
    const int64_t position = i < selection.sink ? i : kv_len - count + i;
    params.token_ids[row * params.token_ids_stride + i] = static_cast<int32_t>(position);
  }
  if (threadIdx.x == 0) {
    params.num_ids[row] = static_cast<int32_t>(count);
  }
}

// grid: (kBlocksPerRow, batch).
__global__ void __launch_bounds__(kNumThreads)
    sum_scores_kernel(const __grid_constant__ SumScoresParams params) {
  const int64_t row = blockIdx.y;
  float* scores = params.scores + row * params.num_kv_heads * params.scores_stride;
  for (int64_t i = int64_t{blockIdx.x} * kNumThreads + threadIdx.x; i < params.kv_lens[row];
       i += kBlocksPerRow * kNumThreads) {
    float sum = scores[i];
    for (int head = 1; head < params.num_kv_heads; ++head) {
      sum += scores[head * params.scores_stride + i];
    }
    scores[i] = sum;
  }
}

}  // namespace

void write_streaming_sets(const StreamingSetParams& params, cudaStream_t stream) {
  streaming_sets_kernel<<<static_cast<unsigned>(params.num_rows), kNumThreads, 0, stream>>>(params);
  cuda_check(cudaGetLastError());
}

void sum_scores(const SumScoresParams& params, cudaStream_t stream) {
  const dim3 grid(kBlocksPerRow, static_cast<unsigned>(params.batch));
  sum_scores_kernel<<<grid, kNumThreads, 0, stream>>>(params);
  cuda_check(cudaGetLastError());
}

}  // namespace lychee::attention::cuda
