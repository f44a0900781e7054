#include "base/math.h"
#include "kernels/attention/cuda/cudnn/arrays.h"
#include "kernels/attention/cuda/paged_kv.cuh"
#include "kernels/cuda/dependent_launch.cuh"
#include "kernels/cuda/eight.cuh"

namespace lychee::attention::cudnn {

namespace {

constexpr int kThreads = 256;

// grid: KV heads.
__global__ void __launch_bounds__(kThreads) prepare_kernel(const __grid_constant__ Preparation p) {
  allow_dependents();
  wait_for_predecessors();
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    p.lengths[0] = p.num_tokens;
    p.lengths[1] = p.kv_len;
  }
  const int eights = p.head_dim / 8;
  const int rest = (kPageSize - p.kv_len % kPageSize) % kPageSize;
  for (int i = static_cast<int>(threadIdx.x); i < rest * eights; i += kThreads) {
    const int64_t at = cuda::device_kv_offset(p.kv, p.page_table, p.kv_len + i / eights,
                                              static_cast<int64_t>(blockIdx.x)) +
                       i % eights * 8;
    *reinterpret_cast<uint4*>(static_cast<uint16_t*>(p.kv.k) + at) = uint4{};
    *reinterpret_cast<uint4*>(static_cast<uint16_t*>(p.kv.v) + at) = uint4{};
  }
}

__global__ void __launch_bounds__(kThreads) f16_to_bf16_kernel(uint4* values, int64_t num_eights) {
  allow_dependents();
  wait_for_predecessors();
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < num_eights) {
    float eight[8];
    unpack_eight<__half>(eight, values[i]);
    values[i] = pack_eight<__nv_bfloat16>(eight);
  }
}

}  // namespace

void prepare(const Preparation& p, cudaStream_t stream) {
  launch_dependent(prepare_kernel, dim3(static_cast<unsigned>(p.num_kv_heads)), dim3(kThreads), 0,
                   stream, p);
}

void f16_to_bf16(void* values, int64_t count, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(ceil_div<int64_t>(count / 8, kThreads));
  launch_dependent(f16_to_bf16_kernel, dim3(blocks), dim3(kThreads), 0, stream,
                   static_cast<uint4*>(values), count / 8);
}

}  // namespace lychee::attention::cudnn
