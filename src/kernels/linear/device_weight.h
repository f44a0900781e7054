#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tensor/dtype.h"

namespace lychee::linear {

// How a matrix lies in device memory: always at the file's value, or quantised while it is loaded.
//
// A weight is ceil(out_features / 8) bands of eight output rows, one after the other. A band is a
// header followed by tiles of step_k inputs, zero-padded:
//  - plain formats: no header and no tiles, eight rows of `row_stride` elements;
//  - others: per tile the integers (and their upper bits) in the order in which the lanes of a warp
//    load them, then the scales. See docs/kernels/linear_cuda.md.
enum class DeviceFormat : uint8_t {
  kF32,
  kF16,
  kBF16,
  kFp8,      // e4m3, one f32 scale a row; quantised on load
  kInt8,     // a f16 scale for every 64 values; quantised on load
  kInt4,     // a f16 scale for every 64 values; quantised on load
  kInt4G32,  // the same for every 32 values, which is GGUF's Q4_0
  // NOLINTBEGIN(readability-identifier-naming): GGUF's names
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  // NOLINTEND(readability-identifier-naming)
};

struct DeviceFormatInfo {
  std::string_view name;
  int step_k;        // inputs of a tile; rows are padded to a multiple of it
  int tile_bytes;    // of eight rows
  int header_bytes;  // of a band
};
[[nodiscard]] const DeviceFormatInfo& device_format_info(DeviceFormat format);
// What holds a file's values as they are.
[[nodiscard]] DeviceFormat device_format(DType dtype);
[[nodiscard]] inline bool is_plain(DeviceFormat format) {
  return format <= DeviceFormat::kBF16;
}

// A matrix in device memory, aligned to 128 bytes.
struct DeviceWeight {
  DeviceFormat format;
  int64_t in_features;
  int64_t out_features;
  const std::byte* data;  // device_weight_bytes(format, in_features, out_features)
};

constexpr int64_t kBandRows = 8;
[[nodiscard]] int64_t device_band_bytes(DeviceFormat format, int64_t in_features);
[[nodiscard]] int64_t device_weight_bytes(DeviceFormat format, int64_t in_features,
                                          int64_t out_features);
// Elements from one row of a plain weight to the next.
[[nodiscard]] int64_t device_row_stride(DeviceFormat format, int64_t in_features);

namespace cpu {
// Brings `num_rows` rows of a file's matrix, [num_rows, in_features] in blocks, into the form of
// `format`, padding the last band with zeros: ceil(num_rows / 8) bands at `dst`, in host memory. So
// a matrix can be packed piece by piece, in multiples of eight rows. `format` is
// device_format(dtype) (the values stay), or one of kBF16, kFp8, kInt8, kInt4, kInt4G32 for any
// dtype (they are rounded to nearest).
void pack_device_weight(DeviceFormat format, DType dtype, const std::byte* src, int64_t num_rows,
                        int64_t in_features, std::byte* dst);
}  // namespace cpu

}  // namespace lychee::linear
