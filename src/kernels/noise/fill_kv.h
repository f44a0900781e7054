#pragma once

#include <cstdint>

#include "kernels/attention/params.h"

struct CUstream_st;

namespace lychee::noise {

// SplitMix64's output for word `index` of stream `seed`: random access, the same on every device.
[[nodiscard]] constexpr uint64_t random_word(uint64_t seed, uint64_t index) {
  uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

// The sum of four uniform bytes is close to normal and costs a fraction of an exact draw.
[[nodiscard]] constexpr float near_normal(uint32_t bytes) {
  const auto sum = static_cast<float>((bytes & 0xff) + ((bytes >> 8) & 0xff) +
                                      ((bytes >> 16) & 0xff) + (bytes >> 24));
  constexpr float kMean = 4 * 127.5F;
  constexpr float kDeviation = 147.8F;  // sqrt(4 · (256² - 1) / 12)
  return (sum - kMean) / kDeviation;
}

// Writes noise close to a standard normal distribution into K and V of one layer, at positions
// [begin, end). What lands where depends on seed, layer, position and dimension alone. A cache of
// 8-bit floats gets it as what is stored, before its scales.
struct FillKvParams {
  int num_layers;
  int layer;
  int num_kv_heads;
  int head_dim;  // even
  int64_t begin;
  int64_t end;
  uint64_t seed;
  const int32_t* page_table;  // [ceil(end / kPageSize)]
  attention::PagedKv kv;
};

// Word of K's (0) or V's (1) first pair of dimensions of one token and KV head.
[[nodiscard]] constexpr uint64_t first_word(const FillKvParams& p, int64_t position, int kv_head,
                                            int k_or_v) {
  const int64_t row = ((position * p.num_layers + p.layer) * 2 + k_or_v) * p.num_kv_heads + kv_head;
  return static_cast<uint64_t>(row * (p.head_dim / 2));
}

namespace cpu {
void fill_kv(const FillKvParams& params);
}
namespace cuda {
// Pointers are device memory. Enqueues on `stream`.
void fill_kv(const FillKvParams& params, CUstream_st* stream);
}  // namespace cuda

}  // namespace lychee::noise
