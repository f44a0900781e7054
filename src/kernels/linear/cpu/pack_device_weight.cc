#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/math.h"
#include "kernels/linear/cpu/block_codes.h"
#include "kernels/linear/device_weight.h"
#include "kernels/linear/linear.h"

namespace lychee::linear::cpu {
namespace {

// Input i of its run of 32 goes to lane `lane` of four, as its element `slot` of eight: the two
// halves of a run feed one matrix instruction each.
struct Place {
  int lane, slot;
};
Place place_of(int64_t input) {
  const int i = static_cast<int>(input % 32);
  return {i % 16 / 4, i / 16 * 4 + i % 4};
}

// One row of a band as unsigned codes and scales, zero beyond in_features.
struct PackedRow {
  explicit PackedRow(int64_t padded)
      : codes(static_cast<size_t>(padded)),
        scales(static_cast<size_t>(padded / 16)),
        mins(static_cast<size_t>(padded / 32)),
        super(static_cast<size_t>(padded / 64)) {}
  std::vector<uint8_t> codes;    // [in]
  std::vector<uint16_t> scales;  // a group each: f16 bits, or the integer of a K-quant
  std::vector<uint16_t> mins;    // [in / 32]
  std::vector<uint16_t> super;   // [in / 128, 2]: f16 bits of a K-quant's d and dmin
  float row_scale = 0;
};

void store16(std::byte* dst, uint16_t bits) {
  std::memcpy(dst, &bits, sizeof(bits));
}

uint8_t e4m3(float value) {
  const float magnitude = std::min(std::fabs(value), 448.0F);
  const auto sign = static_cast<uint8_t>(std::signbit(value) ? 0x80 : 0);
  const int exponent = std::max(magnitude > 0 ? std::ilogb(magnitude) : -6, -6);
  // In units of the last of three bits; a carry moves into the exponent by itself.
  const auto units = static_cast<int>(std::nearbyint(std::ldexp(magnitude, 3 - exponent)));
  return static_cast<uint8_t>(sign | ((exponent + 6) * 8 + units));
}

void quantize_fp8(const std::vector<float>& values, PackedRow& row) {
  float largest = 0;
  for (const float value : values) {
    largest = std::max(largest, std::fabs(value));
  }
  row.row_scale = largest / 448.0F;
  for (size_t i = 0; i < values.size() && largest > 0; ++i) {
    row.codes[i] = e4m3(values[i] / row.row_scale);
  }
}

// Codes of `levels` steps around `zero`; the value of the largest magnitude is met exactly.
void quantize_groups(const std::vector<float>& values, size_t group, int levels, PackedRow& row) {
  const int zero = levels / 2;
  for (size_t begin = 0; begin < values.size(); begin += group) {
    const size_t end = std::min(begin + group, values.size());
    float largest = 0;
    for (size_t i = begin; i < end; ++i) {
      largest = std::fabs(values[i]) > std::fabs(largest) ? values[i] : largest;
    }
    // Eight bits have as many steps on either side; with four the sixteenth must not be wasted.
    const float steps = levels == 256 ? 127.0F : static_cast<float>(-zero);
    const f16 scale(largest / steps);
    row.scales[begin / group] = scale.bits;
    const auto step = static_cast<float>(scale);
    for (size_t i = begin; i < end; ++i) {
      const float code = step != 0 ? std::nearbyint(values[i] / step) : 0.0F;
      const int clamped = std::clamp(static_cast<int>(code), -zero, zero - 1);
      row.codes[i] = static_cast<uint8_t>(levels == 256 ? clamped : clamped + zero);
    }
  }
}

void read_codes(DType dtype, const std::byte* src, int64_t in_features, PackedRow& row) {
  const DTypeInfo& info = dtype_info(dtype);
  const int64_t groups = info.block_size / (dtype == DType::kQ6_K ? 16 : 32);
  for (int64_t b = 0; b < in_features / info.block_size; ++b) {
    const BlockCodes block = block_codes(dtype, src + b * info.block_bytes);
    std::copy_n(block.codes, info.block_size, row.codes.begin() + b * info.block_size);
    std::copy_n(block.scales, groups, row.scales.begin() + b * groups);
    if (dtype != DType::kQ6_K) {
      std::copy_n(block.mins, groups, row.mins.begin() + b * groups);
    }
    for (int64_t half = 0; half < 2 && info.block_size == 256; ++half) {
      row.super[static_cast<size_t>(4 * b + 2 * half)] = block.d;
      row.super[static_cast<size_t>(4 * b + 2 * half + 1)] = block.dmin;
    }
  }
}

PackedRow make_row(DeviceFormat format, DType dtype, const std::byte* src, int64_t in_features) {
  PackedRow row(device_row_stride(format, in_features));
  if (is_quantized(dtype) && device_format(dtype) == format) {
    read_codes(dtype, src, in_features, row);
    return row;
  }
  std::vector<float> values(static_cast<size_t>(in_features));
  dequantize(dtype, src, in_features, values.data());
  if (format == DeviceFormat::kFp8) {
    quantize_fp8(values, row);
  } else if (format == DeviceFormat::kInt8) {
    quantize_groups(values, 64, 256, row);
  } else {
    quantize_groups(values, format == DeviceFormat::kInt4 ? 64 : 32, 16, row);
  }
  return row;
}

void store_bytes(const PackedRow& row, int64_t first, std::byte* lanes) {
  for (int64_t i = 0; i < 64; ++i) {
    const Place place = place_of(i);
    lanes[place.lane * 16 + i / 32 * 8 + place.slot] =
        std::byte{row.codes[static_cast<size_t>(first + i)]};
  }
}

// A lane's word of eight codes holds those of even slots in its lower half, so that one mask gives
// the two halves of a register; the bits above the fourth follow the same order in words of theirs.
void store_nibbles(const PackedRow& row, int64_t first, int g, int high_bits, std::byte* tile) {
  for (int64_t i = 0; i < 128; ++i) {
    const Place place = place_of(i);
    const int lane = 4 * g + place.lane;
    const int pair = place.slot / 2;
    const int side = place.slot % 2;
    const uint32_t code = row.codes[static_cast<size_t>(first + i)];
    uint32_t word;
    std::byte* low = tile + lane * 16 + i / 32 * 4;
    std::memcpy(&word, low, sizeof(word));
    word |= (code & 15) << (4 * pair + 16 * side);
    std::memcpy(low, &word, sizeof(word));
    if (high_bits == 0) {
      continue;
    }
    const auto run = static_cast<int>(i / 32);
    const int position = high_bits == 1 ? 4 * run + pair : 2 * (4 * (run % 2) + pair);
    std::byte* high = tile + 512 + lane * 4 * high_bits + (high_bits == 1 ? 0 : run / 2 * 4);
    std::memcpy(&word, high, sizeof(word));
    word |= (code >> 4) << (position + 16 * side);
    std::memcpy(high, &word, sizeof(word));
  }
}

// The scales of row `g` of the tile whose first input is `first`.
void store_scales(DeviceFormat format, const PackedRow& row, int64_t first, int g,
                  std::byte* scales) {
  const auto scale = [&](int64_t group, int i) {
    return row.scales[static_cast<size_t>(first / group + i)];
  };
  const auto min = [&](int i) { return row.mins[static_cast<size_t>(first / 32 + i)]; };
  const auto super = [&](int i) { return row.super[static_cast<size_t>(first / 128 * 2 + i)]; };
  switch (format) {
    case DeviceFormat::kInt8:
      return store16(scales + 2 * g, scale(64, 0));
    case DeviceFormat::kInt4:
    case DeviceFormat::kQ8_0:
      for (int i = 0; i < 2; ++i) {
        store16(scales + 4 * g + 2 * i, scale(format == DeviceFormat::kInt4 ? 64 : 32, i));
      }
      return;
    case DeviceFormat::kInt4G32:
    case DeviceFormat::kQ5_0:
      for (int i = 0; i < 4; ++i) {
        store16(scales + 8 * g + 2 * i, scale(32, i));
      }
      return;
    case DeviceFormat::kQ4_1:
    case DeviceFormat::kQ5_1:
      for (int i = 0; i < 4; ++i) {
        store16(scales + 16 * g + 2 * i, scale(32, i));
        store16(scales + 16 * g + 8 + 2 * i, min(i));
      }
      return;
    case DeviceFormat::kQ4_K:
    case DeviceFormat::kQ5_K:
      for (int i = 0; i < 4; ++i) {
        scales[8 * g + i] = static_cast<std::byte>(scale(32, i));
        scales[8 * g + 4 + i] = static_cast<std::byte>(min(i));
      }
      store16(scales + 64 + 4 * g, super(0));
      return store16(scales + 64 + 4 * g + 2, super(1));
    case DeviceFormat::kQ6_K:
      for (int i = 0; i < 8; ++i) {
        scales[8 * g + i] = static_cast<std::byte>(scale(16, i));
      }
      return store16(scales + 64 + 2 * g, super(0));
    default:
      return;
  }
}

void pack_row(DeviceFormat format, const PackedRow& row, int g, std::byte* band) {
  const DeviceFormatInfo& info = device_format_info(format);
  if (format == DeviceFormat::kFp8) {
    std::memcpy(band + 4 * g, &row.row_scale, sizeof(float));
  }
  const bool five = format == DeviceFormat::kQ5_0 || format == DeviceFormat::kQ5_1 ||
                    format == DeviceFormat::kQ5_K;
  const int high_bits = five ? 1 : format == DeviceFormat::kQ6_K ? 2 : 0;
  const auto padded = static_cast<int64_t>(row.codes.size());
  for (int64_t first = 0; first < padded; first += info.step_k) {
    std::byte* tile = band + info.header_bytes + first / info.step_k * info.tile_bytes;
    if (info.step_k == 64) {
      store_bytes(row, first, tile + 64 * g);
    } else {
      store_nibbles(row, first, g, high_bits, tile);
    }
    store_scales(format, row, first, g, tile + 512 + 128 * high_bits);
  }
}

// A row of a plain format, from any dtype.
void pack_plain_row(DeviceFormat format, DType dtype, const std::byte* src, int64_t in_features,
                    std::byte* dst) {
  if (device_format(dtype) == format) {
    std::memcpy(dst, src, static_cast<size_t>(dtype_bytes(dtype, in_features)));
    return;
  }
  std::vector<float> values(static_cast<size_t>(in_features));
  dequantize(dtype, src, in_features, values.data());
  for (int64_t i = 0; i < in_features; ++i) {
    store16(dst + 2 * i, bf16(values[static_cast<size_t>(i)]).bits);
  }
}

}  // namespace

void pack_device_weight(DeviceFormat format, DType dtype, const std::byte* src, int64_t num_rows,
                        int64_t in_features, std::byte* dst) {
  const bool rounds = format == DeviceFormat::kBF16 || format == DeviceFormat::kFp8 ||
                      format == DeviceFormat::kInt8 || format == DeviceFormat::kInt4 ||
                      format == DeviceFormat::kInt4G32;
  require(rounds || device_format(dtype) == format, ErrorCode::kUnsupported, dtype_info(dtype).name,
          " weights cannot become ", device_format_info(format).name,
          ": use bf16, fp8, int8 or int4");
  const int64_t row_bytes = dtype_bytes(dtype, in_features);
  const int64_t band_bytes = device_band_bytes(format, in_features);
#pragma omp parallel for schedule(static)
  for (int64_t band = 0; band < ceil_div(num_rows, kBandRows); ++band) {
    std::byte* to = dst + band * band_bytes;
    std::memset(to, 0, static_cast<size_t>(band_bytes));
    const int64_t first = band * kBandRows;
    for (int64_t r = first; r < std::min(first + kBandRows, num_rows); ++r) {
      const std::byte* from = src + r * row_bytes;
      const auto g = static_cast<int>(r - first);
      if (is_plain(format)) {
        pack_plain_row(format, dtype, from, in_features, to + band_bytes / kBandRows * g);
      } else {
        pack_row(format, make_row(format, dtype, from, in_features), g, to);
      }
    }
  }
}

}  // namespace lychee::linear::cpu
