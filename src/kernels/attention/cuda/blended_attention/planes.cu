#include <cuda_bf16.h>

#include "base/math.h"
#include "kernels/attention/cuda/blended_attention/launch.h"
#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/dependent_launch.cuh"

namespace lychee::attention::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kChunk = 8;  // elements of 16 bytes of bf16

// Reads up to kChunk values, zeros beyond `count`; in whole 16 bytes if `aligned`.
__device__ void read_chunk(const float* from, int count, bool aligned, float (&values)[kChunk]) {
  if (aligned && count >= kChunk) {
#pragma unroll
    for (int i = 0; i < kChunk; i += 4) {
      const float4 four = *reinterpret_cast<const float4*>(from + i);
      values[i] = four.x;
      values[i + 1] = four.y;
      values[i + 2] = four.z;
      values[i + 3] = four.w;
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kChunk; ++i) {
    values[i] = i < count ? from[i] : 0.0F;
  }
}

template <bool kMean>
__device__ void read_row(const PlaneSource& s, int64_t row, int head, int dim, bool aligned,
                         float (&values)[kChunk]) {
  const int count = s.head_dim - dim;
  if (row < s.context_len) {
    read_chunk(s.context + (head * s.context_stride + row) * s.head_dim + dim, count, aligned,
               values);
    return;
  }
  const int64_t target = row - s.context_len;
  if constexpr (!kMean) {
    const int64_t from =
        (target / s.group_size * s.num_heads + head) * s.group_size + target % s.group_size;
    read_chunk(s.rows + from * s.head_dim + dim, count, aligned, values);
  } else {
    const float* from = s.rows + (target * s.num_heads + head) * s.group_size * s.head_dim + dim;
    for (int g = 0; g < s.group_size; ++g) {
      float one[kChunk];
      read_chunk(from + g * s.head_dim, count, aligned, one);
#pragma unroll
      for (int i = 0; i < kChunk; ++i) {
        values[i] += one[i];
      }
    }
#pragma unroll
    for (float& value : values) {
      value /= static_cast<float>(s.group_size);
    }
  }
}

// grid: (chunks of a head's rows, heads).
template <int kParts, bool kMean>
__global__ void __launch_bounds__(kThreads)
    split_planes_kernel(const __grid_constant__ PlaneSource source, int64_t padded_rows,
                        int chunks_per_row, bool aligned, __nv_bfloat16* planes) {
  allow_dependents();
  wait_for_predecessors();
  const int64_t chunk = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t row = chunk / chunks_per_row;
  if (row >= padded_rows) {
    return;
  }
  const int dim = static_cast<int>(chunk % chunks_per_row) * kChunk;
  const auto head = static_cast<int>(blockIdx.y);
  const int64_t count =
      source.context_len + (kMean ? source.count / source.group_size : source.count);
  float values[kChunk] = {};
  if (row < count && dim < source.head_dim) {
    read_row<kMean>(source, row, head, dim, aligned, values);
  }
  uint32_t parts[kChunk / 2][kParts];
#pragma unroll
  for (int i = 0; i < kChunk / 2; ++i) {
    split_pair<__nv_bfloat16, kParts>(parts[i], values[2 * i], values[2 * i + 1]);
  }
  const int64_t head_chunks = padded_rows * chunks_per_row;
  auto* to = reinterpret_cast<uint4*>(planes) + head * head_chunks +
             plane_chunk(row, dim / kChunk, chunks_per_row * kChunk);
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
    to[part * head_chunks * source.num_heads] = {parts[0][part], parts[1][part], parts[2][part],
                                                 parts[3][part]};
  }
}

template <bool kMean>
void launch(const PlaneSource& source, int64_t padded_rows, int dim, int parts,
            __nv_bfloat16* planes, cudaStream_t stream) {
  const int chunks_per_row = dim / kChunk;
  const dim3 grid(static_cast<unsigned>(ceil_div(padded_rows * chunks_per_row, int64_t{kThreads})),
                  static_cast<unsigned>(source.num_heads));
  const bool aligned = source.head_dim % 4 == 0 &&
                       reinterpret_cast<uintptr_t>(source.rows) % 16 == 0 &&
                       reinterpret_cast<uintptr_t>(source.context) % 16 == 0;
  auto* kernel = parts == 1 ? split_planes_kernel<1, kMean> : split_planes_kernel<2, kMean>;
  launch_dependent(kernel, grid, dim3(kThreads), 0, stream, source, padded_rows, chunks_per_row,
                   aligned, planes);
}

}  // namespace

void split_planes(const PlaneSource& source, int64_t padded_rows, int dim, int parts,
                  __nv_bfloat16* planes, cudaStream_t stream) {
  launch<false>(source, padded_rows, dim, parts, planes, stream);
}

void split_mean_planes(const PlaneSource& source, int64_t padded_rows, int dim, int parts,
                       __nv_bfloat16* planes, cudaStream_t stream) {
  launch<true>(source, padded_rows, dim, parts, planes, stream);
}

}  // namespace lychee::attention::cuda
