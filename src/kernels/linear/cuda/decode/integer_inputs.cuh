#pragma once

#include <cstdint>

#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/eight.cuh"
#include "kernels/linear/cuda/decode/traits.cuh"

// Activations as integers: 64 inputs share a power of two as their scale, such that the largest is
// below 2^14 of it. What bf16 can tell apart within a factor 64 of the largest stays what it was.
//
// A thread makes the eight values of a run that one lane multiplies: inputs 4 l … and 16 + 4 l …,
// with l = item % 4 of run item / 4. Eight neighbours make the 64.
namespace lychee::linear::cuda {

// Of a thread's eight neighbours.
struct ItemGroup {
  unsigned mask = 0xffU << (threadIdx.x % kWarpSize / 8 * 8);

  // Over 2, 4 or 8 threads, in each of them.
  template <int kThreads>
  [[nodiscard]] __device__ int sum(int value) const {
#pragma unroll
    for (int step = 1; step < kThreads; step *= 2) {
      value += __shfl_xor_sync(mask, value, step);
    }
    return value;
  }
  [[nodiscard]] __device__ uint32_t max(uint32_t value) const {
#pragma unroll
    for (int step = 1; step < 8; step *= 2) {
      value = ::max(value, __shfl_xor_sync(mask, value, step));
    }
    return value;
  }
};

// Where the high bytes of an item belong; the low ones follow kLowBytes later.
constexpr int kLowBytes = 64;
template <typename Traits>
__device__ std::byte* item_bytes(const Staged<Traits>& staged, int item, int row, int num_rows) {
  const int run = item / 4;
  return staged.values + (run / 2 * num_rows + row) * 128 + item % 4 * 16 + run % 2 * 8;
}

// The bytes 0 or 1 of four values.
template <int kByte>
[[nodiscard]] __device__ inline uint32_t pack_bytes(int a, int b, int c, int d) {
  constexpr unsigned kPair = kByte == 0 ? 0x0040 : 0x0051;
  return __byte_perm(__byte_perm(a, b, kPair), __byte_perm(c, d, kPair), 0x5410);
}

// Stages the eight values of an item, in bf16, and what belongs to its 64 inputs.
template <typename Traits>
__device__ void store_item(const Staged<Traits>& staged, int item, int row, int runs, int num_rows,
                           const uint4& rounded) {
  using Format = typename Traits::Format;
  constexpr int kOnes = 0x01010101;
  constexpr uint32_t kMagnitude = 0x7fff7fffU;
  const ItemGroup group;
  const uint32_t largest = __vmaxu2(__vmaxu2(rounded.x & kMagnitude, rounded.y & kMagnitude),
                                    __vmaxu2(rounded.z & kMagnitude, rounded.w & kMagnitude));
  // What is smaller than 2^-114 becomes zero: its scale would not be a normal number.
  const uint32_t exponent = max(group.max(max(largest >> 16, largest & 0xffffU)) >> 7, 27U);
  const bool finite = exponent < 255;
  const float factor = finite ? __uint_as_float((267 - exponent) << 23) : 0.0F;
  const float scale = __uint_as_float(finite ? (exponent - 13) << 23 : 0x7fc00000U);
  float x[8];
  unpack_eight<__nv_bfloat16>(x, rounded);
  int v[8];
  int carried[8];  // to the high byte, where the low one is negative
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    // The lower 16 bits of 1.5 · 2^23 + n are those of n, rounded to nearest; a conversion
    // would run at a quarter of the rate.
    v[i] = __float_as_int(fmaf(x[Format::slot_of(i)], factor, 12582912.0F));
    carried[i] = v[i] + 128;
  }
  const uint2 high = {pack_bytes<1>(carried[0], carried[1], carried[2], carried[3]),
                      pack_bytes<1>(carried[4], carried[5], carried[6], carried[7])};
  const uint2 low = {pack_bytes<0>(v[0], v[1], v[2], v[3]), pack_bytes<0>(v[4], v[5], v[6], v[7])};
  std::byte* const bytes = item_bytes(staged, item, row, num_rows);
  *reinterpret_cast<uint2*>(bytes) = high;
  *reinterpret_cast<uint2*>(bytes + kLowBytes) = low;
  const int run = item / 4;
  if (item % 8 == 0) {
    staged.scales[row * Staged<Traits>::scales_of(runs) + run / 2] = scale;
  }
  const auto dot = [](uint32_t word, int sum) {
    return __dp4a(static_cast<int>(word), kOnes, sum);
  };
  if constexpr (Format::kHasMin) {
    const int sum =
        group.template sum<4>(256 * dot(high.y, dot(high.x, 0)) + dot(low.y, dot(low.x, 0)));
    if (item % 4 == 0) {
      staged.sums[row * Staged<Traits>::sums_of(runs) + run] = static_cast<float>(sum) * scale;
    }
  }
  if constexpr (Format::kZero != 0) {
    int* const offsets = staged.offsets + row * Staged<Traits>::offsets_of(runs);
    if constexpr (Format::kGroup == 16) {
      // Two groups a run: the first four values of its items, and the others.
      const int first = group.template sum<4>(256 * dot(high.x, 0) + dot(low.x, 0));
      const int second = group.template sum<4>(256 * dot(high.y, 0) + dot(low.y, 0));
      if (item % 4 == 0) {
        offsets[2 * run] = -Format::kZero * first;
        offsets[2 * run + 1] = -Format::kZero * second;
      }
    } else {
      constexpr int kItems = Format::kGroup / 8;
      const int sum =
          group.template sum<kItems>(256 * dot(high.y, dot(high.x, 0)) + dot(low.y, dot(low.x, 0)));
      if (item % kItems == 0) {
        offsets[item / kItems] = -Format::kZero * sum;
      }
    }
  }
}

// Starts copying eight bytes of four inputs from `input` of a row on, zero beyond its end.
__device__ inline void copy_four(std::byte* to, const uint16_t* row, int input, int in_features,
                                 bool aligned) {
  if (aligned) {
    copy_async_8(shared_address(to), row + input, input < in_features);
    return;
  }
#pragma unroll 1
  for (int i = 0; i < 4; ++i) {
    reinterpret_cast<uint16_t*>(to)[i] = input + i < in_features ? row[input + i] : uint16_t{0};
  }
}

// This thread's first item; the others follow kDecodeThreads apart. A warp has those of its lane of
// the sum where the block has all lanes.
template <typename Traits>
[[nodiscard]] __device__ int first_item(const DecodeShare<Traits>& share) {
  constexpr int kItems = 4 * Traits::kRunsPerBatch;  // of one lane of the sum in a batch
  static_assert(kWarpSize % kItems == 0);
  const int thread = static_cast<int>(threadIdx.x);
  if (share.lanes < kDecodeWarps) {
    return thread;
  }
  const int lane = thread % kWarpSize;
  return (lane / kItems * kDecodeWarps + thread / kWarpSize) * kItems + lane % kItems;
}

// Rows that come in bf16. They are copied to where their bytes will be: eight bytes of four
// inputs each. In one slice, other warps' are not needed.
template <typename Traits>
__device__ void stage_rounded_integers(const DecodeLaunch& p, const DecodeShare<Traits>& share,
                                       const Staged<Traits>& staged, uint64_t& fetched) {
  const bool aligned = p.x_stride % 4 == 0 && p.in_features % 4 == 0 &&
                       reinterpret_cast<uintptr_t>(p.rounded_x) % 8 == 0;
  const int items = share.runs * 4;
  const int own = first_item(share);
  const int first = share.first_input(own / 4) + own % 4 * 4;
  const int step = input_step(p.num_slices);
#pragma unroll 1
  for (int row = 0; row < p.num_rows; ++row) {
    const auto* x = reinterpret_cast<const uint16_t*>(p.rounded_x) + row * p.x_stride;
    std::byte* to = item_bytes(staged, own, row, p.num_rows);
    int input = first;
#pragma unroll 1
    for (int item = own; item < items; item += kDecodeThreads) {
      copy_four(to, x, input, p.in_features, aligned);
      copy_four(to + kLowBytes, x, input + 16, p.in_features, aligned);
      to += kDecodeThreads / 8 * 128 * p.num_rows;
      input += step;
    }
  }
  fetch_all(fetched);  // a thread takes its own
#pragma unroll 1
  for (int item = own; item < items; item += kDecodeThreads) {
#pragma unroll 1
    for (int row = 0; row < p.num_rows; ++row) {
      const std::byte* const bytes = item_bytes(staged, item, row, p.num_rows);
      const auto low = *reinterpret_cast<const uint2*>(bytes);
      const auto high = *reinterpret_cast<const uint2*>(bytes + kLowBytes);
      store_item(staged, item, row, share.runs, p.num_rows, {low.x, low.y, high.x, high.y});
    }
  }
  if (share.lanes < kDecodeWarps) {
    sync_multipliers();
  } else {
    __syncwarp();
  }
}

}  // namespace lychee::linear::cuda
