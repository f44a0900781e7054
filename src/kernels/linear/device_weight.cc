#include "kernels/linear/device_weight.h"

#include <array>

#include "base/check.h"
#include "base/math.h"

namespace lychee::linear {

const DeviceFormatInfo& device_format_info(DeviceFormat format) {
  // 512 bytes of integers a tile, then upper bits, scales, and the scales of scales. The header of
  // fp8, eight scales, is padded so that tiles lie as cache lines do: else copies lose 15 %.
  static constexpr std::array<DeviceFormatInfo, 14> kInfos = {{
      {"f32", 64, 8 * 64 * 4, 0},
      {"f16", 64, 8 * 64 * 2, 0},
      {"bf16", 64, 8 * 64 * 2, 0},
      {"fp8", 64, 512, 128},
      {"int8", 64, 512 + 8 * 2, 0},
      {"int4", 128, 512 + 8 * 2 * 2, 0},
      {"int4_g32", 128, 512 + 8 * 4 * 2, 0},
      {"q4_1", 128, 512 + 8 * 8 * 2, 0},
      {"q5_0", 128, 512 + 128 + 8 * 4 * 2, 0},
      {"q5_1", 128, 512 + 128 + 8 * 8 * 2, 0},
      {"q8_0", 64, 512 + 8 * 2 * 2, 0},
      {"q4_K", 128, 512 + 8 * 8 + 8 * 4, 0},
      {"q5_K", 128, 512 + 128 + 8 * 8 + 8 * 4, 0},
      {"q6_K", 128, 512 + 256 + 8 * 8 + 8 * 2, 0},
  }};
  return kInfos[static_cast<size_t>(format)];
}

DeviceFormat device_format(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return DeviceFormat::kF32;
    case DType::kF16:
      return DeviceFormat::kF16;
    case DType::kBF16:
      return DeviceFormat::kBF16;
    case DType::kQ4_0:
      return DeviceFormat::kInt4G32;
    case DType::kQ4_1:
      return DeviceFormat::kQ4_1;
    case DType::kQ5_0:
      return DeviceFormat::kQ5_0;
    case DType::kQ5_1:
      return DeviceFormat::kQ5_1;
    case DType::kQ8_0:
      return DeviceFormat::kQ8_0;
    case DType::kQ4_K:
      return DeviceFormat::kQ4_K;
    case DType::kQ5_K:
      return DeviceFormat::kQ5_K;
    case DType::kQ6_K:
      return DeviceFormat::kQ6_K;
    default:
      fail(ErrorCode::kUnsupported, "no weights of type ", dtype_info(dtype).name, " on the GPU");
  }
}

int64_t device_band_bytes(DeviceFormat format, int64_t in_features) {
  const DeviceFormatInfo& info = device_format_info(format);
  return info.header_bytes + ceil_div<int64_t>(in_features, info.step_k) * info.tile_bytes;
}

int64_t device_weight_bytes(DeviceFormat format, int64_t in_features, int64_t out_features) {
  return ceil_div(out_features, kBandRows) * device_band_bytes(format, in_features);
}

int64_t device_row_stride(DeviceFormat format, int64_t in_features) {
  return round_up<int64_t>(in_features, device_format_info(format).step_k);
}

}  // namespace lychee::linear
