#include <algorithm>

#include "base/check.h"
#include "base/math.h"
#include "kernels/cuda/dependent_launch.cuh"
#include "kernels/cuda/device_assert.cuh"
#include "kernels/cuda/warp.cuh"
#include "kernels/linear/cuda/decode/formats.cuh"
#include "kernels/linear/cuda/widen.h"

namespace lychee::linear::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarpSize;
constexpr int64_t kMaxGridY = 65535;

__device__ void store(const WidenParams& p, int64_t row, int64_t column, float value) {
  if (column >= p.weight.in_features) {
    return;
  }
  if (p.dst != nullptr) {
    p.dst[row * p.dst_stride + column] = value;
  } else {
    reinterpret_cast<__nv_bfloat16*>(p.dst_bf16)[row * p.dst_stride + column] =
        __float2bfloat16_rn(value);
  }
}

// The eight values of a lane in run `run` of its tile, of integers.
template <typename Format>
__device__ void integer_values(const typename Format::Tile& tile, int run, float (&values)[8]) {
  float scale[Format::kStepK / Format::kGroup];
  float min[4];
  Format::scales(tile, scale, min);
  uint32_t words[2];
  Format::bytes(tile, run, words);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const uint32_t byte = words[i / 4] >> (i % 4 * 8) & 0xff;
    const int code = Format::kUnsigned ? static_cast<int>(byte) - Format::kZero
                                       : static_cast<int>(static_cast<int8_t>(byte));
    const int slot = Format::slot_of(i);
    const float value =
        static_cast<float>(code) * scale[(run * 32 + slot / 4 * 16) / Format::kGroup];
    values[slot] = Format::kHasMin ? value + min[run] : value;
  }
}

// The same, of floats.
template <typename Format>
__device__ void float_values(const typename Format::Tile& tile, int run, float row_scale,
                             float (&values)[8]) {
  uint32_t weights[Format::kParts][4];
  Format::weights(tile, run, weights);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    float value = 0;
#pragma unroll
    for (int part = 0; part < Format::kParts; ++part) {
      const float2 pair = unpack_pair<__nv_bfloat16>(weights[part][i / 2]);
      value += i % 2 == 0 ? pair.x : pair.y;
    }
    values[i] = value * row_scale;
  }
}

// grid: (groups of kWarps tiles of a row, bands or rows). A warp widens one tile of eight rows, of
// which it keeps one where rows are looked up.
template <typename Format>
__global__ void __launch_bounds__(kThreads)
    widen_kernel(const __grid_constant__ WidenParams p, int64_t band_bytes) {
  allow_dependents();
  wait_for_predecessors();
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int64_t step = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarpSize;
  if (step * Format::kStepK >= p.weight.in_features) {
    return;
  }
  const int64_t units = p.ids != nullptr ? p.num_rows : (p.num_rows + kBandRows - 1) / kBandRows;
  for (int64_t unit = blockIdx.y; unit < units; unit += gridDim.y) {
    const int64_t source = p.ids != nullptr ? p.ids[unit] : p.first_row + unit * kBandRows;
    LYCHEE_DEVICE_ASSERT(source >= 0 && source < p.weight.out_features);
    const std::byte* band = p.weight.data + source / kBandRows * band_bytes;
    const std::byte* row = band + (Format::kRowMajor ? lane / 4 * (band_bytes / kBandRows) : 0);
    const auto tile = Format::load(row + Format::kHeaderBytes + step * Format::kTileBytes, lane);
    const float row_scale =
        Format::kRowScale ? reinterpret_cast<const float*>(band)[lane / 4] : 1.0F;
    const int64_t out_row = p.ids != nullptr ? unit : unit * kBandRows + lane / 4;
    const bool mine = p.ids != nullptr ? source % kBandRows == lane / 4 : out_row < p.num_rows;
    if (!mine) {
      continue;
    }
#pragma unroll
    for (int run = 0; run < Format::kStepK / 32; ++run) {
      float values[8];
      if constexpr (Format::kIntegers) {
        integer_values<Format>(tile, run, values);
      } else {
        float_values<Format>(tile, run, row_scale, values);
      }
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const int place = Format::kRowMajor ? lane % 4 * 8 + i : i / 4 * 16 + lane % 4 * 4 + i % 4;
        store(p, out_row, step * Format::kStepK + run * 32 + place, values[i]);
      }
    }
  }
}

// grid: (parts of a row, rows).
__global__ void __launch_bounds__(kThreads)
    widen_f32_kernel(const __grid_constant__ WidenParams p, int64_t row_stride) {
  allow_dependents();
  wait_for_predecessors();
  const int64_t column = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  for (int64_t row = blockIdx.y; row < p.num_rows; row += gridDim.y) {
    const int64_t source = p.ids != nullptr ? p.ids[row] : p.first_row + row;
    if (column < p.weight.in_features) {
      store(p, row, column,
            reinterpret_cast<const float*>(p.weight.data)[source * row_stride + column]);
    }
  }
}

__global__ void __launch_bounds__(kThreads)
    round_rows_kernel(int64_t num_rows, int64_t in_features, const float* x, int64_t x_stride,
                      __nv_bfloat16* y, int64_t y_stride) {
  allow_dependents();
  wait_for_predecessors();
  const int64_t column = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  for (int64_t row = blockIdx.y; row < num_rows && column < y_stride; row += gridDim.y) {
    y[row * y_stride + column] =
        __float2bfloat16_rn(column < in_features ? x[row * x_stride + column] : 0.0F);
  }
}

// grid: (groups of kWarps outputs, rows). A warp for one output of one row.
__global__ void __launch_bounds__(kThreads)
    plain_linear_kernel(const __grid_constant__ PlainParams p) {
  allow_dependents();
  wait_for_predecessors();
  const int64_t output = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarpSize;
  if (output >= p.out_features) {
    return;
  }
  const float* weight = p.weight + output * p.weight_stride;
  for (int64_t row = blockIdx.y; row < p.num_rows; row += gridDim.y) {
    const float* x = p.x + row * p.x_stride;
    float sum = 0;
    for (int64_t i = threadIdx.x % kWarpSize; i < p.in_features; i += kWarpSize) {
      sum += x[i] * weight[i];
    }
    sum = warp_sum(sum) + (p.bias != nullptr ? p.bias[output] : 0.0F);
    if (threadIdx.x % kWarpSize == 0) {
      float* y = p.y + row * p.y_stride + output;
      *y = p.accumulate ? *y + sum : sum;
    }
  }
}

dim3 grid_of(int64_t x, int64_t y) {
  return {static_cast<unsigned>(x), static_cast<unsigned>(std::min(y, kMaxGridY))};
}

template <typename Format>
void launch_widen(const WidenParams& p, cudaStream_t stream) {
  const int64_t steps = ceil_div<int64_t>(p.weight.in_features, Format::kStepK);
  const int64_t units = p.ids != nullptr ? p.num_rows : ceil_div(p.num_rows, kBandRows);
  launch_dependent(widen_kernel<Format>, grid_of(ceil_div<int64_t>(steps, kWarps), units),
                   dim3(kThreads), 0, stream, p,
                   device_band_bytes(p.weight.format, p.weight.in_features));
}

}  // namespace

void widen(const WidenParams& p, cudaStream_t stream) {
  switch (p.weight.format) {
    case DeviceFormat::kF32:
      return launch_dependent(
          widen_f32_kernel, grid_of(ceil_div<int64_t>(p.weight.in_features, kThreads), p.num_rows),
          dim3(kThreads), 0, stream, p, device_row_stride(p.weight.format, p.weight.in_features));
    case DeviceFormat::kF16:
      return launch_widen<FormatF16>(p, stream);
    case DeviceFormat::kBF16:
      return launch_widen<FormatBf16>(p, stream);
    case DeviceFormat::kFp8:
      return launch_widen<FormatFp8>(p, stream);
    case DeviceFormat::kInt8:
      return launch_widen<FormatInt8>(p, stream);
    case DeviceFormat::kInt4:
      return launch_widen<FormatInt4>(p, stream);
    case DeviceFormat::kInt4G32:
      return launch_widen<FormatInt4G32>(p, stream);
    case DeviceFormat::kQ4_1:
      return launch_widen<FormatQ4_1>(p, stream);
    case DeviceFormat::kQ5_0:
      return launch_widen<FormatQ5_0>(p, stream);
    case DeviceFormat::kQ5_1:
      return launch_widen<FormatQ5_1>(p, stream);
    case DeviceFormat::kQ8_0:
      return launch_widen<FormatQ8_0>(p, stream);
    case DeviceFormat::kQ4_K:
      return launch_widen<FormatQ4_K>(p, stream);
    case DeviceFormat::kQ5_K:
      return launch_widen<FormatQ5_K>(p, stream);
    case DeviceFormat::kQ6_K:
      return launch_widen<FormatQ6_K>(p, stream);
  }
}

void round_rows(int64_t num_rows, int64_t in_features, const float* x, int64_t x_stride, bf16* y,
                int64_t y_stride, cudaStream_t stream) {
  launch_dependent(round_rows_kernel, grid_of(ceil_div<int64_t>(y_stride, kThreads), num_rows),
                   dim3(kThreads), 0, stream, num_rows, in_features, x, x_stride,
                   reinterpret_cast<__nv_bfloat16*>(y), y_stride);
}

void plain_linear(const PlainParams& p, cudaStream_t stream) {
  launch_dependent(plain_linear_kernel,
                   grid_of(ceil_div<int64_t>(p.out_features, kWarps), p.num_rows), dim3(kThreads),
                   0, stream, p);
}

}  // namespace lychee::linear::cuda
