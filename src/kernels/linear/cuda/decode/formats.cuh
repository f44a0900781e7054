#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/linear/cuda/decode/codes.cuh"

// What a lane holds of a tile of eight rows of each DeviceFormat, and how it becomes operands of
// the matrix instruction. Lane 4 g + c has row g of its band, of every run of 32 inputs eight
// values.
//
// A format: kStepK inputs a tile, of which a warp multiplies kBatch at a time; kRowMajor: rows lie
// as in the file, else input i of a run belongs to lane i % 16 / 4.
//
// Floats (kIntegers is false) become four registers of bf16 pairs, of which the first two feed one
// instruction and the other two the next; kParts: terms that a weight is the sum of; kRowScale:
// rows have a scale.
//
// Integers become two registers of codes, signed bytes or (kUnsigned) bytes less kZero, of which
// byte i is the lane's value slot_of(i). kGroup inputs share a scale; kHasMin: an offset too.
namespace lychee::linear::cuda {

template <typename T>
[[nodiscard]] __device__ T take(const std::byte* from) {
  return *reinterpret_cast<const T*>(from);
}

// 16 bytes of a row of bf16.
struct FormatBf16 {
  static constexpr bool kIntegers = false;
  static constexpr int kStepK = 32;
  static constexpr int kBatch = 2;
  static constexpr bool kRowScale = false;
  static constexpr bool kRowMajor = true;
  static constexpr int kParts = 1;
  static constexpr int kTileBytes = 64;  // of one row
  static constexpr int kHeaderBytes = 0;
  struct Tile {
    uint4 values;
  };
  static __device__ Tile load(const std::byte* tile, int lane) {
    return {take<uint4>(tile + lane % 4 * 16)};
  }
  static __device__ void weights(const Tile& tile, int /*run*/, uint32_t (&w)[kParts][4]) {
    w[0][0] = tile.values.x;
    w[0][1] = tile.values.y;
    w[0][2] = tile.values.z;
    w[0][3] = tile.values.w;
  }
};

// f16 has more mantissa than bf16 and less range: a weight is the sum of two bf16.
struct FormatF16 : FormatBf16 {
  static constexpr int kParts = 2;
  static __device__ void weights(const Tile& tile, int /*run*/, uint32_t (&w)[kParts][4]) {
    const uint32_t pairs[4] = {tile.values.x, tile.values.y, tile.values.z, tile.values.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 pair = unpack_pair<__half>(pairs[i]);
      uint32_t parts[kParts];
      split_pair<__nv_bfloat16>(parts, pair.x, pair.y);
      w[0][i] = parts[0];
      w[1][i] = parts[1];
    }
  }
};

// 64 inputs of a byte each; run r in the lower or upper half of the 16 bytes.
struct FormatBytes {
  static constexpr int kStepK = 64;
  static constexpr int kBatch = 2;
  static constexpr bool kRowMajor = false;
  static __device__ uint2 words_of(const uint4& codes, int run) {
    return run == 0 ? make_uint2(codes.x, codes.y) : make_uint2(codes.z, codes.w);
  }
};

struct FormatFp8 : FormatBytes {
  static constexpr bool kIntegers = false;
  static constexpr int kParts = 1;
  static constexpr bool kRowScale = true;
  static constexpr int kTileBytes = 512;
  static constexpr int kHeaderBytes = 128;
  struct Tile {
    uint4 codes;
  };
  static __device__ Tile load(const std::byte* tile, int lane) {
    return {take<uint4>(tile + lane * 16)};
  }
  static __device__ void weights(const Tile& tile, int run, uint32_t (&w)[kParts][4]) {
    const uint2 words = words_of(tile.codes, run);
    w[0][0] = e4m3_to_bf16<0>(words.x);
    w[0][1] = e4m3_to_bf16<1>(words.x);
    w[0][2] = e4m3_to_bf16<0>(words.y);
    w[0][3] = e4m3_to_bf16<1>(words.y);
  }
};

struct FormatInt8Base : FormatBytes {
  static constexpr bool kIntegers = true;
  static constexpr bool kUnsigned = false;
  static constexpr int kZero = 0;
  static constexpr __device__ int slot_of(int byte) { return byte; }
  static constexpr bool kHasMin = false;
  static constexpr bool kRowScale = false;
  static constexpr int kHeaderBytes = 0;
  struct Tile {
    uint4 codes;
    uint32_t scales;
  };
  static __device__ void bytes(const Tile& tile, int run, uint32_t (&w)[2]) {
    const uint2 words = words_of(tile.codes, run);
    w[0] = words.x;
    w[1] = words.y;
  }
};

struct FormatInt8 : FormatInt8Base {
  static constexpr int kGroup = 64;
  static constexpr int kTileBytes = 528;
  static __device__ Tile load(const std::byte* tile, int lane) {
    return {take<uint4>(tile + lane * 16), take<uint16_t>(tile + 512 + lane / 4 * 2)};
  }
  static __device__ void scales(const Tile& tile, float (&scale)[1], float* /*min*/) {
    float pair[2];
    halves_to_floats(tile.scales, pair);
    scale[0] = pair[0];
  }
};

struct FormatQ8_0 : FormatInt8Base {
  static constexpr int kGroup = 32;
  static constexpr int kTileBytes = 544;
  static __device__ Tile load(const std::byte* tile, int lane) {
    return {take<uint4>(tile + lane * 16), take<uint32_t>(tile + 512 + lane / 4 * 4)};
  }
  static __device__ void scales(const Tile& tile, float (&scale)[2], float* /*min*/) {
    halves_to_floats(tile.scales, scale);
  }
};

// 128 inputs: run r in word r of the nibbles, even slots of a lane in the lower halves.
struct FormatNibbles {
  static constexpr bool kIntegers = true;
  static constexpr bool kUnsigned = true;
  // 0, 4, 1, 5, 2, 6, 3, 7.
  static constexpr __device__ int slot_of(int byte) { return byte % 2 * 4 + byte / 2; }
  static constexpr int kStepK = 128;
  static constexpr int kBatch = 2;
  static constexpr bool kRowScale = false;
  static constexpr bool kRowMajor = false;
  static constexpr int kHeaderBytes = 0;
  static __device__ uint32_t word_of(const uint4& codes, int run) {
    return run == 0 ? codes.x : run == 1 ? codes.y : run == 2 ? codes.z : codes.w;
  }
  static __device__ void four_bits(const uint4& codes, int run, uint32_t (&w)[2]) {
    const uint32_t word = word_of(codes, run);
    w[0] = word & 0x0f0f0f0fU;
    w[1] = (word >> 4) & 0x0f0f0f0fU;
  }
  // `high` has the fifth bits of slots 2 i and 2 i + 1 in the bits 4 run + i of its halves.
  static __device__ void five_bits(const uint4& codes, uint32_t high, int run, uint32_t (&w)[2]) {
    four_bits(codes, run, w);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      w[i] |= shifted(high, 4 - (4 * run + i)) & 0x00100010U;
      w[i] |= shifted(high, 12 - (4 * run + i + 2)) & 0x10001000U;
    }
  }
  // To the left, or to the right where negative.
  static __device__ uint32_t shifted(uint32_t word, int left) {
    return left >= 0 ? word << left : word >> -left;
  }
};

// Four scales and four minima of a row, as halves.
__device__ inline void scales_and_minima(const uint4& halves, float (&scale)[4], float* min) {
  halves_to_floats(make_uint2(halves.x, halves.y), scale);
  halves_to_floats(make_uint2(halves.z, halves.w), min);
}

struct FormatInt4 : FormatNibbles {
  static constexpr int kZero = 8;
  static constexpr int kGroup = 64;
  static constexpr bool kHasMin = false;
  static constexpr int kTileBytes = 544;
  struct Tile {
    uint4 codes;
    uint32_t scales;
  };
  static __device__ Tile load(const std::byte* tile, int lane) {
    return {take<uint4>(tile + lane * 16), take<uint32_t>(tile + 512 + lane / 4 * 4)};
  }
  static __device__ void bytes(const Tile& tile, int run, uint32_t (&w)[2]) {
    four_bits(tile.codes, run, w);
  }
  static __device__ void scales(const Tile& tile, float (&scale)[2], float* /*min*/) {
    halves_to_floats(tile.scales, scale);
  }
};

struct FormatInt4G32 : FormatNibbles {
  static constexpr int kZero = 8;
  static constexpr int kGroup = 32;
  static constexpr bool kHasMin = false;
  static constexpr int kTileBytes = 576;
  struct Tile {
    uint4 codes;
    uint2 scales;
  };
  static __device__ Tile load(const std::byte* tile, int lane) {
    return {take<uint4>(tile + lane * 16), take<uint2>(tile + 512 + lane / 4 * 8)};
  }
  static __device__ void bytes(const Tile& tile, int run, uint32_t (&w)[2]) {
    four_bits(tile.codes, run, w);
  }
  static __device__ void scales(const Tile& tile, float (&scale)[4], float* /*min*/) {
    halves_to_floats(tile.scales, scale);
  }
};

struct FormatQ4_1 : FormatNibbles {
  static constexpr int kZero = 0;
  static constexpr int kGroup = 32;
  static constexpr bool kHasMin = true;
  static constexpr int kTileBytes = 640;
  struct Tile {
    uint4 codes;
    uint4 scales;
  };
  static __device__ Tile load(const std::byte* tile, int lane) {
    return {take<uint4>(tile + lane * 16), take<uint4>(tile + 512 + lane / 4 * 16)};
  }
  static __device__ void bytes(const Tile& tile, int run, uint32_t (&w)[2]) {
    four_bits(tile.codes, run, w);
  }
  static __device__ void scales(const Tile& tile, float (&scale)[4], float* min) {
    scales_and_minima(tile.scales, scale, min);
  }
};

struct FormatQ5_0 : FormatNibbles {
  static constexpr int kZero = 16;
  static constexpr int kGroup = 32;
  static constexpr bool kHasMin = false;
  static constexpr int kTileBytes = 704;
  struct Tile {
    uint4 codes;
    uint2 scales;
    uint32_t high;
  };
  static __device__ Tile load(const std::byte* tile, int lane) {
    return {take<uint4>(tile + lane * 16), take<uint2>(tile + 640 + lane / 4 * 8),
            take<uint32_t>(tile + 512 + lane * 4)};
  }
  static __device__ void bytes(const Tile& tile, int run, uint32_t (&w)[2]) {
    five_bits(tile.codes, tile.high, run, w);
  }
  static __device__ void scales(const Tile& tile, float (&scale)[4], float* /*min*/) {
    halves_to_floats(tile.scales, scale);
  }
};

struct FormatQ5_1 : FormatNibbles {
  static constexpr int kZero = 0;
  static constexpr int kGroup = 32;
  static constexpr bool kHasMin = true;
  static constexpr int kTileBytes = 768;
  struct Tile {
    uint4 codes;
    uint4 scales;
    uint32_t high;
  };
  static __device__ Tile load(const std::byte* tile, int lane) {
    return {take<uint4>(tile + lane * 16), take<uint4>(tile + 640 + lane / 4 * 16),
            take<uint32_t>(tile + 512 + lane * 4)};
  }
  static __device__ void bytes(const Tile& tile, int run, uint32_t (&w)[2]) {
    five_bits(tile.codes, tile.high, run, w);
  }
  static __device__ void scales(const Tile& tile, float (&scale)[4], float* min) {
    scales_and_minima(tile.scales, scale, min);
  }
};

// Scales and minima of a K-quant: bytes times d, bytes times -dmin.
__device__ inline void k_scales(const uint2& bytes, uint32_t super, float (&scale)[4], float* min) {
  const float2 d = unpack_pair<__half>(super);
  bytes_to_floats<false>(bytes.x, scale);
  bytes_to_floats<false>(bytes.y, min);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    scale[i] *= d.x;
    min[i] *= -d.y;
  }
}

struct FormatQ4_K : FormatNibbles {
  static constexpr int kZero = 0;
  static constexpr int kGroup = 32;
  static constexpr bool kHasMin = true;
  static constexpr int kTileBytes = 608;
  struct Tile {
    uint4 codes;
    uint2 scales;
    uint32_t super;
  };
  static __device__ Tile load(const std::byte* tile, int lane) {
    return {take<uint4>(tile + lane * 16), take<uint2>(tile + 512 + lane / 4 * 8),
            take<uint32_t>(tile + 576 + lane / 4 * 4)};
  }
  static __device__ void bytes(const Tile& tile, int run, uint32_t (&w)[2]) {
    four_bits(tile.codes, run, w);
  }
  static __device__ void scales(const Tile& tile, float (&scale)[4], float* min) {
    k_scales(tile.scales, tile.super, scale, min);
  }
};

struct FormatQ5_K : FormatNibbles {
  static constexpr int kZero = 0;
  static constexpr int kGroup = 32;
  static constexpr bool kHasMin = true;
  static constexpr int kTileBytes = 736;
  struct Tile {
    uint4 codes;
    uint2 scales;
    uint32_t super;
    uint32_t high;
  };
  static __device__ Tile load(const std::byte* tile, int lane) {
    return {take<uint4>(tile + lane * 16), take<uint2>(tile + 640 + lane / 4 * 8),
            take<uint32_t>(tile + 704 + lane / 4 * 4), take<uint32_t>(tile + 512 + lane * 4)};
  }
  static __device__ void bytes(const Tile& tile, int run, uint32_t (&w)[2]) {
    five_bits(tile.codes, tile.high, run, w);
  }
  static __device__ void scales(const Tile& tile, float (&scale)[4], float* min) {
    k_scales(tile.scales, tile.super, scale, min);
  }
};

struct FormatQ6_K : FormatNibbles {
  static constexpr int kBatch = 1;  // its tiles are the largest
  static constexpr int kZero = 32;
  // 0, 2, 1, 3, 4, 6, 5, 7.
  static constexpr __device__ int slot_of(int byte) {
    return byte / 4 * 4 + byte % 2 * 2 + byte / 2 % 2;
  }
  static constexpr int kGroup = 16;
  static constexpr bool kHasMin = false;
  static constexpr int kTileBytes = 848;
  struct Tile {
    uint4 codes;
    uint2 high;
    uint2 scales;
    uint32_t super;
  };
  static __device__ Tile load(const std::byte* tile, int lane) {
    return {take<uint4>(tile + lane * 16), take<uint2>(tile + 512 + lane * 8),
            take<uint2>(tile + 768 + lane / 4 * 8), take<uint16_t>(tile + 832 + lane / 4 * 2)};
  }
  // Slots 0 … 3, which share a scale, in one register and 4 … 7 in the other.
  static __device__ void bytes(const Tile& tile, int run, uint32_t (&w)[2]) {
    const uint32_t word = word_of(tile.codes, run);
    const uint32_t high = run < 2 ? tile.high.x : tile.high.y;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int bit = 8 * (run % 2) + 4 * i;  // of the two upper bits of slots 4 i and 4 i + 1
      w[i] = shifted(word, -8 * i) & 0x000f000fU;
      w[i] |= shifted(word, 4 - 8 * i) & 0x0f000f00U;
      w[i] |= shifted(high, 4 - bit) & 0x00300030U;
      w[i] |= shifted(high, 12 - (bit + 2)) & 0x30003000U;
    }
  }
  static __device__ void scales(const Tile& tile, float (&scale)[8], float* /*min*/) {
    float d[2];
    halves_to_floats(tile.super, d);
    bytes_to_floats<true>(tile.scales.x, scale);
    bytes_to_floats<true>(tile.scales.y, scale + 4);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      scale[i] *= d[0];
    }
  }
};

}  // namespace lychee::linear::cuda
