#include "kernels/attention/cuda/paged_kv.cuh"
#include "kernels/noise/fill_kv.h"
#include "tensor/cuda/check.h"

namespace lychee::noise::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int64_t kMaxBlocks = 65535;

// A block a token, as many as there are: grid (tokens, KV heads).
template <typename T>
__global__ void __launch_bounds__(kThreads) fill_kv_kernel(const __grid_constant__ FillKvParams p) {
  using attention::cuda::round_to;
  const int head = static_cast<int>(blockIdx.y);
  for (int64_t position = p.begin + blockIdx.x; position < p.end; position += gridDim.x) {
    const int64_t offset = attention::cuda::device_kv_offset(p.kv, p.page_table, position, head);
    for (int k_or_v = 0; k_or_v < 2; ++k_or_v) {
      T* row = static_cast<T*>(k_or_v == 0 ? p.kv.k : p.kv.v) + offset;
      const uint64_t word = first_word(p, position, head, k_or_v);
      for (int pair = static_cast<int>(threadIdx.x); pair < p.head_dim / 2; pair += kThreads) {
        const uint64_t bits = random_word(p.seed, word + static_cast<uint64_t>(pair));
        row[2 * pair] = round_to<T>(near_normal(static_cast<uint32_t>(bits)));
        row[2 * pair + 1] = round_to<T>(near_normal(static_cast<uint32_t>(bits >> 32)));
      }
    }
  }
}

}  // namespace

void fill_kv(const FillKvParams& params, cudaStream_t stream) {
  const int64_t tokens = params.end - params.begin;
  const dim3 grid(static_cast<unsigned>(tokens < kMaxBlocks ? tokens : kMaxBlocks),
                  static_cast<unsigned>(params.num_kv_heads));
  attention::cuda::dispatch_kv_dtype(params.kv.dtype, [&](auto element) {
    fill_kv_kernel<decltype(element)><<<grid, kThreads, 0, stream>>>(params);
  });
  cuda_check(cudaGetLastError());
}

}  // namespace lychee::noise::cuda
