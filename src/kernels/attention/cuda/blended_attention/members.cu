#include <algorithm>

#include "kernels/attention/cuda/blended_attention/launch.h"
#include "kernels/cuda/dependent_launch.cuh"

namespace lychee::attention::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kMaxWords = 8192;  // at a time in shared memory

struct SetTable {
  RowSets sets[kMaxHeads];
};

// grid: (rows, sets).
__global__ void __launch_bounds__(kThreads)
    mark_members_kernel(const __grid_constant__ SetTable table, int bit_words, uint32_t* bits) {
  __shared__ uint32_t words[kMaxWords];
  allow_dependents();
  wait_for_predecessors();
  const RowSets& set = table.sets[blockIdx.y];
  const int32_t* ids = set.ids + blockIdx.x * set.ids_stride;
  const int num_ids = set.num_ids[blockIdx.x];
  uint32_t* to = bits + (int64_t{blockIdx.y} * gridDim.x + blockIdx.x) * bit_words;
  for (int first = 0; first < bit_words; first += kMaxWords) {
    const int count = min(kMaxWords, bit_words - first);
    for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads) {
      words[i] = 0;
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < num_ids; i += kThreads) {
      const int word = ids[i] / 32 - first;
      if (word >= 0 && word < count) {
        atomicOr(&words[word], 1U << (ids[i] % 32));
      }
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads) {
      to[first + i] = words[i];
    }
    __syncthreads();
  }
}

}  // namespace

void mark_members(const RowSets* sets, int num_sets, int num_rows, int bit_words, uint32_t* bits,
                  cudaStream_t stream) {
  SetTable table{};
  std::copy_n(sets, num_sets, table.sets);
  launch_dependent(mark_members_kernel,
                   dim3(static_cast<unsigned>(num_rows), static_cast<unsigned>(num_sets)),
                   dim3(kThreads), 0, stream, table, bit_words, bits);
}

}  // namespace lychee::attention::cuda
