#include "kernels/linear/cpu/block_codes.h"

#include <cstring>

#include "base/check.h"

namespace lychee::linear::cpu {
namespace {

uint16_t word(const uint8_t* src) {
  return static_cast<uint16_t>(src[0] | src[1] << 8);
}

// Blocks of 32: low nibbles are values 0 to 15, high ones 16 to 31; fifth bits lie in order.
void read_small(const uint8_t* block, bool has_min, bool has_fifth, BlockCodes& out) {
  out.scales[0] = word(block);
  out.mins[0] = has_min ? word(block + 2) : uint16_t{0};
  const uint8_t* bits = block + (has_min ? 4 : 2);
  const uint8_t* nibbles = bits + (has_fifth ? 4 : 0);
  for (int i = 0; i < 32; ++i) {
    const int low = nibbles[i % 16] >> (i / 16 * 4) & 15;
    const int fifth = has_fifth ? bits[i / 8] >> (i % 8) & 1 : 0;
    out.codes[i] = static_cast<uint8_t>(low | fifth << 4);
  }
}

// Eight scales and minima of six bits: the first four whole in bytes 0-3 and 4-7, whose upper two
// bits complete the others, in bytes 8-11.
void read_scales(const uint8_t* packed, BlockCodes& out) {
  for (int j = 0; j < 4; ++j) {
    out.scales[j] = packed[j] & 63;
    out.mins[j] = packed[j + 4] & 63;
    out.scales[j + 4] = static_cast<uint16_t>((packed[j + 8] & 15) | packed[j] >> 6 << 4);
    out.mins[j + 4] = static_cast<uint16_t>(packed[j + 8] >> 4 | packed[j + 4] >> 6 << 4);
  }
}

// Every 32 bytes of nibbles hold two groups, the low nibbles first; bit j of byte i of the fifth
// bits belongs to value i of group j.
void read_k(const uint8_t* block, bool has_fifth, BlockCodes& out) {
  out.d = word(block);
  out.dmin = word(block + 2);
  read_scales(block + 4, out);
  const uint8_t* nibbles = block + (has_fifth ? 48 : 16);
  for (int i = 0; i < 256; ++i) {
    const int group = i / 32;
    const int low = nibbles[group / 2 * 32 + i % 32] >> (group % 2 * 4) & 15;
    const int fifth = has_fifth ? block[16 + i % 32] >> group & 1 : 0;
    out.codes[i] = static_cast<uint8_t>(low | fifth << 4);
  }
}

// Two halves of 128 values: 64 bytes of lower nibbles, 32 of upper bit pairs; 16 signed scales.
void read_q6_k(const uint8_t* block, BlockCodes& out) {
  out.d = word(block + 208);
  out.dmin = 0;
  for (int i = 0; i < 16; ++i) {
    out.scales[i] = block[192 + i];
  }
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128;
    const int run = i % 128 / 32;
    const int low = block[half * 64 + run % 2 * 32 + i % 32] >> (run / 2 * 4) & 15;
    const int high = block[128 + half * 32 + i % 32] >> (2 * run) & 3;
    out.codes[i] = static_cast<uint8_t>(low | high << 4);
  }
}

}  // namespace

BlockCodes block_codes(DType dtype, const std::byte* data) {
  const auto* block = reinterpret_cast<const uint8_t*>(data);
  BlockCodes out{};
  switch (dtype) {
    case DType::kQ4_0:
    case DType::kQ4_1:
      read_small(block, dtype == DType::kQ4_1, false, out);
      return out;
    case DType::kQ5_0:
    case DType::kQ5_1:
      read_small(block, dtype == DType::kQ5_1, true, out);
      return out;
    case DType::kQ8_0:
      out.scales[0] = word(block);
      std::memcpy(out.codes, block + 2, 32);
      return out;
    case DType::kQ4_K:
    case DType::kQ5_K:
      read_k(block, dtype == DType::kQ5_K, out);
      return out;
    case DType::kQ6_K:
      read_q6_k(block, out);
      return out;
    default:
      fail(ErrorCode::kInternal, dtype_info(dtype).name, " has no blocks");
  }
}

}  // namespace lychee::linear::cpu
