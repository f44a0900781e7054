#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear/cpu/dequantize.cc"
#include <hwy/foreach_target.h>  // before highway.h
#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/linear/linear.h"

HWY_BEFORE_NAMESPACE();
namespace lychee::linear::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Formats come in runs of 16 values, so no vector is longer.
using D = hn::CappedTag<float, 16>;
using Ints = hn::Rebind<int32_t, D>;
using IntVec = hn::Vec<Ints>;
constexpr int64_t kRun = 16;

float read_f16(const uint8_t* src) {
  f16 half;
  std::memcpy(&half.bits, src, sizeof(half.bits));
  return static_cast<float>(half);
}

HWY_INLINE IntVec load_bytes(const uint8_t* src) {
  const Ints d;
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<uint8_t, Ints>(), src));
}

template <int kShift, int kMask>
HWY_INLINE IntVec field(IntVec bytes) {
  if constexpr (kShift == 0) {
    return hn::And(bytes, hn::Set(Ints(), kMask));
  } else {
    return hn::And(hn::ShiftRight<kShift>(bytes), hn::Set(Ints(), kMask));
  }
}

// dst = scale · q + min
HWY_INLINE void store(IntVec q, float scale, float min, float* dst) {
  const D d;
  hn::StoreU(hn::MulAdd(hn::ConvertTo(d, q), hn::Set(d, scale), hn::Set(d, min)), d, dst);
}

// 16 for every lane whose fifth bit is set; lane i has bit `first + i`.
HWY_INLINE IntVec fifth_bits(uint32_t bits, int64_t first) {
  const hn::Rebind<uint32_t, Ints> d;
  const auto lane = hn::Iota(d, static_cast<uint32_t>(first));
  const auto bit = hn::And(hn::Shr(hn::Set(d, bits), lane), hn::Set(d, 1));
  return hn::BitCast(Ints(), hn::ShiftLeft<4>(bit));
}

// Blocks of 32: low nibbles are values 0 to 15, high ones 16 to 31; fifth bits lie in order. `zero`
// is what the stored integer of the value 0 is.
template <bool kMin, bool kFifth, int kZero>
void widen_block(const uint8_t* block, float* dst) {
  const float scale = read_f16(block);
  const float min = kMin ? read_f16(block + 2) : -kZero * scale;
  const uint8_t* nibbles = block + (kMin ? 4 : 2) + (kFifth ? 4 : 0);
  uint32_t bits = 0;
  if constexpr (kFifth) {
    std::memcpy(&bits, nibbles - 4, sizeof(bits));
  }
  for (int64_t i = 0; i < kRun; i += static_cast<int64_t>(hn::Lanes(D()))) {
    const IntVec bytes = load_bytes(nibbles + i);
    IntVec low = field<0, 15>(bytes);
    IntVec high = field<4, 15>(bytes);
    if constexpr (kFifth) {
      low = hn::Or(low, fifth_bits(bits, i));
      high = hn::Or(high, fifth_bits(bits, i + kRun));
    }
    store(low, scale, min, dst + i);
    store(high, scale, min, dst + kRun + i);
  }
}

void widen_q8_0(const uint8_t* block, float* dst) {
  const float scale = read_f16(block);
  const hn::Rebind<int8_t, Ints> d;
  for (int64_t i = 0; i < 2 * kRun; i += static_cast<int64_t>(hn::Lanes(D()))) {
    const auto bytes = hn::LoadU(d, reinterpret_cast<const int8_t*>(block) + 2 + i);
    store(hn::PromoteTo(Ints(), bytes), scale, 0, dst + i);
  }
}

// The 6-bit scale and minimum of sub-block `j` of 32, out of the 12 bytes that hold eight of each:
// bytes 0-3 and 4-7 have the first four whole, the upper two bits of the others on top; bytes 8-11
// have the lower four bits of the others.
struct ScaleMin {
  int scale, min;
};

ScaleMin k_scale_min(const uint8_t* packed, int j) {
  if (j < 4) {
    return {packed[j] & 63, packed[j + 4] & 63};
  }
  const int low = packed[j + 4];
  return {(low & 15) | (packed[j - 4] >> 6 << 4), (low >> 4) | (packed[j] >> 6 << 4)};
}

// Blocks of 256. Every 32 bytes of nibbles hold two sub-blocks, the low nibbles first; bit j of
// byte i of the fifth bits belongs to value i of sub-block j.
template <bool kFifth>
void widen_chunks(const uint8_t* block, float* dst) {
  const float scale = read_f16(block);
  const float min = read_f16(block + 2);
  const hn::Rebind<uint32_t, Ints> du;
  for (int j = 0; j < 8; ++j) {
    const ScaleMin sub = k_scale_min(block + 4, j);
    const float sub_scale = scale * static_cast<float>(sub.scale);
    const float sub_min = -min * static_cast<float>(sub.min);
    const uint8_t* nibbles = block + (kFifth ? 48 : 16) + j / 2 * 32;
    for (int64_t i = 0; i < 2 * kRun; i += static_cast<int64_t>(hn::Lanes(D()))) {
      const IntVec bytes = load_bytes(nibbles + i);
      IntVec q = j % 2 == 0 ? field<0, 15>(bytes) : field<4, 15>(bytes);
      if constexpr (kFifth) {
        const auto bits = hn::BitCast(du, load_bytes(block + 16 + i));
        const auto bit = hn::And(hn::ShiftRightSame(bits, j), hn::Set(du, 1));
        q = hn::Or(q, hn::BitCast(Ints(), hn::ShiftLeft<4>(bit)));
      }
      store(q, sub_scale, sub_min, dst + j * 2 * kRun + i);
    }
  }
}

// 16 values of Q6_K, group kGroup of 32 in its half: nibbles and pairs of upper bits.
template <int kGroup>
HWY_INLINE void widen_q6_k_run(const uint8_t* low, const uint8_t* high, float scale, float* dst) {
  for (int64_t i = 0; i < kRun; i += static_cast<int64_t>(hn::Lanes(D()))) {
    const IntVec nibble = field<kGroup / 2 * 4, 15>(load_bytes(low + i));
    const IntVec top = field<kGroup * 2, 3>(load_bytes(high + i));
    store(hn::Or(nibble, hn::ShiftLeft<4>(top)), scale, -32 * scale, dst + i);
  }
}

// Two halves of 128 values: 64 bytes of lower nibbles, 32 bytes of upper bit pairs; a signed scale
// for every 16 values.
void widen_q6_k(const uint8_t* block, float* dst) {
  const float scale = read_f16(block + 208);
  for (int64_t run = 0; run < 4; ++run) {
    const int64_t half = run / 2;
    const int64_t side = run % 2 * kRun;
    const uint8_t* low = block + half * 64 + side;
    const uint8_t* high = block + 128 + half * 32 + side;
    const auto sub_scale = [&](int64_t group) {
      return scale *
             static_cast<float>(static_cast<int8_t>(block[192 + half * 8 + group * 2 + run % 2]));
    };
    float* out = dst + half * 128 + side;
    widen_q6_k_run<0>(low, high, sub_scale(0), out);
    widen_q6_k_run<1>(low + 32, high, sub_scale(1), out + 32);
    widen_q6_k_run<2>(low, high, sub_scale(2), out + 64);
    widen_q6_k_run<3>(low + 32, high, sub_scale(3), out + 96);
  }
}

template <typename Storage, typename Half>
void widen_halves(const uint8_t* src, int64_t count, float* dst) {
  int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR  // which cannot load two bytes as one half
  const D d;
  const hn::Rebind<Half, D> dh;
  const hn::Repartition<uint8_t, decltype(dh)> db;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (; i + lanes <= count; i += lanes) {
    hn::StoreU(hn::PromoteTo(d, hn::BitCast(dh, hn::LoadU(db, src + 2 * i))), d, dst + i);
  }
#endif
  for (; i < count; ++i) {
    Storage value;
    std::memcpy(&value.bits, src + 2 * i, sizeof(value.bits));
    dst[i] = static_cast<float>(value);
  }
}

template <typename Block>
void each_block(DType dtype, const uint8_t* src, int64_t count, float* dst, const Block& block) {
  const DTypeInfo& info = dtype_info(dtype);
  for (int64_t i = 0; i < count / info.block_size; ++i) {
    block(src + i * info.block_bytes, dst + i * info.block_size);
  }
}

void widen(DType dtype, const std::byte* data, int64_t count, float* dst) {
  const auto* src = reinterpret_cast<const uint8_t*>(data);
  switch (dtype) {
    case DType::kF32:
      std::memcpy(dst, src, static_cast<size_t>(count) * sizeof(float));
      return;
    case DType::kF16:
      return widen_halves<f16, hwy::float16_t>(src, count, dst);
    case DType::kBF16:
      return widen_halves<bf16, hwy::bfloat16_t>(src, count, dst);
    case DType::kQ4_0:
      return each_block(dtype, src, count, dst, widen_block<false, false, 8>);
    case DType::kQ4_1:
      return each_block(dtype, src, count, dst, widen_block<true, false, 0>);
    case DType::kQ5_0:
      return each_block(dtype, src, count, dst, widen_block<false, true, 16>);
    case DType::kQ5_1:
      return each_block(dtype, src, count, dst, widen_block<true, true, 0>);
    case DType::kQ8_0:
      return each_block(dtype, src, count, dst, widen_q8_0);
    case DType::kQ4_K:
      return each_block(dtype, src, count, dst, widen_chunks<false>);
    case DType::kQ5_K:
      return each_block(dtype, src, count, dst, widen_chunks<true>);
    case DType::kQ6_K:
      return each_block(dtype, src, count, dst, widen_q6_k);
    case DType::kF8E4M3:  // of KV caches; no file has it
      std::transform(src, src + count, dst,
                     [](uint8_t bits) { return static_cast<float>(std::bit_cast<f8e4m3>(bits)); });
      return;
  }
}

}  // namespace lychee::linear::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lychee::linear {

HWY_EXPORT(widen);

void dequantize(DType dtype, const std::byte* src, int64_t count, float* dst) {
  HWY_DYNAMIC_DISPATCH(widen)(dtype, src, count, dst);
}

}  // namespace lychee::linear
#endif
