#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/eight.cuh"
#include "kernels/cuda/warp.cuh"
#include "kernels/linear/cuda/decode/integer_inputs.cuh"
#include "kernels/linear/cuda/decode/traits.cuh"
#include "kernels/norm/cuda/rounded_row.cuh"

// How activations come to a block: rounded to bf16, and made integers for formats of those, in the
// order in which lanes take them.
namespace lychee::linear::cuda {

// Where inputs 4 quad … of a run lie in its 64 bytes.
template <typename Format>
__device__ inline int quad_offset(int quad) {
  return Format::kRowMajor ? quad * 8 : quad % 4 * 16 + quad / 4 * 8;
}

// Starts copying rounded inputs: sixteen bytes at a time where lanes take rows as they lie, else
// eight. A thread's are of one place in every row. Loops are not unrolled, here and below: what
// runs once a launch is dearer to fetch than to run.
template <typename Traits>
__device__ void copy_inputs(const DecodeLaunch& p, const DecodeShare<Traits>& share,
                            std::byte* inputs) {
  constexpr int kWidth = Traits::Format::kRowMajor ? 8 : 4;
  constexpr int kPieces = 32 / kWidth;  // of a run
  const bool aligned = p.x_stride % kWidth == 0 && p.in_features % kWidth == 0 &&
                       reinterpret_cast<uintptr_t>(p.rounded_x) % (2 * kWidth) == 0;
#pragma unroll 1
  for (int i = threadIdx.x; i < share.runs * kPieces; i += kDecodeThreads) {
    const int run = i / kPieces;
    const int piece = i % kPieces;
    const int first = share.first_input(run) + kWidth * piece;
    const auto* x = reinterpret_cast<const uint16_t*>(p.rounded_x) + first;
    std::byte* out =
        inputs + run * p.num_rows * 64 + quad_offset<typename Traits::Format>(kWidth / 4 * piece);
#pragma unroll 1
    for (int row = 0; row < p.num_rows; ++row) {
      if (!aligned) {
#pragma unroll 1
        for (int j = 0; j < kWidth; ++j) {
          reinterpret_cast<uint16_t*>(out)[j] = first + j < p.in_features ? x[j] : uint16_t{0};
        }
      } else if constexpr (kWidth == 8) {
        copy_async_16(shared_address(out), x, first < p.in_features);
      } else {
        copy_async_8(shared_address(out), x, first < p.in_features);
      }
      x += p.x_stride;
      out += 64;
    }
  }
}

// Starts copying eight inputs from `first` on to `raw`, zero beyond the row's end.
__device__ inline void fetch_inputs(const float* row, int first, int in_features, bool aligned,
                                    float* raw) {
  if (aligned) {
    copy_async_16(shared_address(raw), row + first, first + 4 <= in_features);
    copy_async_16(shared_address(raw + 4), row + first + 4, first + 8 <= in_features);
    return;
  }
#pragma unroll 1
  for (int i = 0; i < 8; ++i) {
    raw[i] = first + i < in_features ? row[first + i] : 0.0F;
  }
}

// A row, or its weight, of a norm: as the kernel's parameters have it aligned and in one slice, its
// inputs lie in the block as in memory.
__device__ inline void fetch_norm_row(const float* row, int runs, int in_features, float* raw) {
#pragma unroll 1
  for (int i = 8 * static_cast<int>(threadIdx.x); i < runs * 32; i += 8 * kDecodeThreads) {
    fetch_inputs(row, i, in_features, true, raw + i);
  }
}

// Behind the rows themselves.
__device__ inline void fetch_norm_weight(const DecodeLaunch& p, int runs, float* raw) {
  fetch_norm_row(p.norm_weight, runs, p.in_features, raw + p.num_rows * runs * 32);
}

// Sums of squares of the rows in `raw`, a warp's each.
__device__ inline void sum_squares(int num_rows, int eights, const float* raw,
                                   float* warp_squares) {
  static_assert(kDecodeThreads == norm::cuda::kRoundedThreads);
#pragma unroll 1
  for (int row = 0; row < num_rows; ++row) {
    float squares = 0;
#pragma unroll 1
    for (int i = threadIdx.x; i < eights; i += kDecodeThreads) {
      float values[8];
      load_eight(values, raw + 8 * (row * eights + i));
      squares = norm::cuda::add_squares(squares, values);
    }
    squares = warp_sum(squares);
    if (threadIdx.x % kWarpSize == 0) {
      warp_squares[row * kDecodeWarps + threadIdx.x / kWarpSize] = squares;
    }
  }
  sync_multipliers();
}

// Where a thread's eight inputs lie in a row of f32: those of an item of integer_inputs.cuh, or
// neighbours.
template <typename Format>
__device__ void load_inputs(float (&values)[8], const float* row, int i) {
  if constexpr (Format::kIntegers) {
    const float* const run = row + i / 4 * 32 + i % 4 * 4;
    load_eight(values, run, run + 16);
  } else {
    load_eight(values, row + 8 * i);
  }
}

// Stages eight rounded inputs.
template <typename Traits>
__device__ void store_rounded(const DecodeShare<Traits>& share, const Staged<Traits>& staged, int i,
                              int row, int num_rows, const uint4& rounded) {
  using Format = typename Traits::Format;
  if constexpr (Format::kIntegers) {
    store_item(staged, i, row, share.runs, num_rows, rounded);
  } else {
    std::byte* out = staged.values + (i / 4 * num_rows + row) * 64;
    *reinterpret_cast<uint2*>(out + quad_offset<Format>(i % 4 * 2)) = {rounded.x, rounded.y};
    *reinterpret_cast<uint2*>(out + quad_offset<Format>(i % 4 * 2 + 1)) = {rounded.z, rounded.w};
  }
}

// Rounds inputs in f32.
template <typename Traits>
__device__ void round_inputs(const DecodeLaunch& p, const DecodeShare<Traits>& share,
                             const Staged<Traits>& staged, uint64_t& fetched) {
  const bool aligned =
      p.x_stride % 4 == 0 && p.in_features % 4 == 0 && reinterpret_cast<uintptr_t>(p.x) % 16 == 0;
  float* const raw = staged.results;
  const int eights = share.runs * 4;
  // All copies are under way before the first is waited for.
#pragma unroll 1
  for (int i = threadIdx.x; i < eights; i += kDecodeThreads) {
    const int first = share.first_input(i / 4) + 8 * (i % 4);
#pragma unroll 1
    for (int row = 0; row < p.num_rows; ++row) {
      fetch_inputs(p.x + row * p.x_stride, first, p.in_features, aligned,
                   raw + 8 * (row * eights + i));
    }
  }
  fetch_all(fetched);
  if (Traits::Format::kIntegers) {
    sync_multipliers();  // threads take what others have fetched
  }
#pragma unroll 1
  for (int row = 0; row < p.num_rows; ++row) {
#pragma unroll 1
    for (int i = threadIdx.x; i < eights; i += kDecodeThreads) {
      float values[8];
      load_inputs<typename Traits::Format>(values, raw + 8 * row * eights, i);
      store_rounded(share, staged, i, row, p.num_rows, pack_eight<__nv_bfloat16>(values));
    }
  }
}

// The same of their norm. Its weight has been asked for.
template <typename Traits>
__device__ void normalize_inputs(const DecodeLaunch& p, const DecodeShare<Traits>& share,
                                 const Staged<Traits>& staged, uint64_t& fetched) {
  using Format = typename Traits::Format;
  __shared__ float warp_squares[kMaxFusedNormRows * kDecodeWarps];
  const int eights = share.runs * 4;
  float* const raw = staged.results;
  float* const weight = raw + 8 * p.num_rows * eights;
#pragma unroll 1
  for (int row = 0; row < p.num_rows; ++row) {
    fetch_norm_row(p.x + row * p.x_stride, share.runs, p.in_features, raw + 8 * row * eights);
  }
  fetch_all(fetched);
  sum_squares(p.num_rows, eights, raw, warp_squares);
#pragma unroll 1
  for (int row = 0; row < p.num_rows; ++row) {
    const float factor =
        norm::cuda::norm_factor(warp_squares + row * kDecodeWarps, p.in_features, p.norm_eps);
#pragma unroll 1
    for (int i = threadIdx.x; i < eights; i += kDecodeThreads) {
      float values[8];
      float weights[8];
      load_inputs<Format>(values, raw + 8 * row * eights, i);
      load_inputs<Format>(weights, weight, i);
      store_rounded(share, staged, i, row, p.num_rows,
                    norm::cuda::normalize_eight(values, factor, weights));
    }
  }
}

// Brings this block's share of the activations to `staged`, for all threads that multiply: what a
// warp will take is there when it returns. Warps arrive at `fetched` when all that they have asked
// for is there.
template <typename Traits>
__device__ void stage_inputs(const DecodeLaunch& p, const DecodeShare<Traits>& share,
                             const Staged<Traits>& staged, uint64_t& fetched) {
  if (p.norm_weight != nullptr) {
    normalize_inputs(p, share, staged, fetched);
  } else if (p.x != nullptr) {
    round_inputs(p, share, staged, fetched);
  } else if constexpr (Traits::Format::kIntegers) {
    stage_rounded_integers(p, share, staged, fetched);
    return;
  } else {
    copy_inputs(p, share, staged.values);
    fetch_all(fetched);
  }
  sync_multipliers();
}

}  // namespace lychee::linear::cuda
