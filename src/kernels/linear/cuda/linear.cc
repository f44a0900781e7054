#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/math.h"
#include "kernels/activation/silu_mul.h"
#include "kernels/linear/cuda/decode/formats.h"
#include "kernels/linear/cuda/decode/launch.h"
#include "kernels/linear/cuda/widen.h"
#include "kernels/linear/device_linear.h"
#include "tensor/cuda/check.h"

namespace lychee::linear::cuda {
namespace {

constexpr int64_t kAlignment = 256;
// What a block reads of the activations before it can multiply, a copy of half that size included
// in its shared memory: beyond, it takes fewer of the sum's lanes of more tiles.
constexpr int64_t kMaxInputBytes = int64_t{128} << 10;
constexpr int64_t kPanelBytes = int64_t{64} << 20;

int64_t floats(int64_t count) {
  return round_up<int64_t>(count * int64_t{sizeof(float)}, kAlignment);
}

int num_sms() {
  int device = 0;
  int count = 0;
  cuda_check(cudaGetDevice(&device));
  cuda_check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device));
  return count;
}

int64_t staged_row_bytes(int64_t in_features) {
  return round_up<int64_t>(in_features, kInputsPerRound) * int64_t{sizeof(float)};
}

// At most so many rows fit into the shared memory of kMaxSlices blocks.
int64_t rows_of_launch(int64_t in_features) {
  const int64_t most = kMaxSlices * kMaxInputBytes / staged_row_bytes(in_features);
  require(most > 0, ErrorCode::kUnsupported, "linear: rows of ", in_features,
          " inputs are too long for the GPU");
  return std::min(most, kMaxDeviceDecodeRows);
}

int num_slices(int64_t num_rows, int64_t in_features) {
  const int64_t bytes = num_rows * staged_row_bytes(in_features);
  int slices = 1;
  while (slices < kMaxSlices && bytes > slices * kMaxInputBytes) {
    slices *= 2;
  }
  return slices;
}

bool decodes(const DeviceLinearParams& p, DeviceFormat format) {
  return !p.exact && format != DeviceFormat::kF32;
}

// Targets that one launch serves: from `first` on, as many as have its format.
size_t end_of_launch(const DeviceLinearParams& p, size_t first) {
  size_t end = first + 1;
  while (end < p.targets.size() && end - first < kMaxTargets &&
         p.targets[end].weight.format == p.targets[first].weight.format) {
    ++end;
  }
  return end;
}

int tiles_of(const DeviceLinearParams& p, const DeviceLinearTarget& target) {
  const int64_t bands = ceil_div(target.weight.out_features, kBandRows);
  return static_cast<int>(p.swiglu ? bands : ceil_div<int64_t>(bands, 2));
}

int64_t partial_bytes(int64_t num_rows, int64_t in_features, int64_t tiles) {
  const int slices = num_slices(num_rows, in_features);
  return slices == 1 ? 0 : floats(slices * tiles * 128 * (num_rows > 8 ? 2 : 1));
}

int64_t decode_bytes(const DeviceLinearParams& p) {
  int64_t tiles = 0;
  for (const DeviceLinearTarget& target : p.targets) {
    tiles += tiles_of(p, target);
  }
  // More slices for more rows, so no fewer rows need more.
  return partial_bytes(std::min(p.num_rows, kMaxDeviceDecodeRows), p.in_features, tiles);
}

void launch_format(DeviceFormat format, const DecodeLaunch& launch, cudaStream_t stream) {
  switch (format) {
    case DeviceFormat::kF32:
      break;
    case DeviceFormat::kF16:
      return launch_decode<FormatF16>(launch, stream);
    case DeviceFormat::kBF16:
      return launch_decode<FormatBf16>(launch, stream);
    case DeviceFormat::kFp8:
      return launch_decode<FormatFp8>(launch, stream);
    case DeviceFormat::kInt8:
      return launch_decode<FormatInt8>(launch, stream);
    case DeviceFormat::kInt4:
      return launch_decode<FormatInt4>(launch, stream);
    case DeviceFormat::kInt4G32:
      return launch_decode<FormatInt4G32>(launch, stream);
    case DeviceFormat::kQ4_1:
      return launch_decode<FormatQ4_1>(launch, stream);
    case DeviceFormat::kQ5_0:
      return launch_decode<FormatQ5_0>(launch, stream);
    case DeviceFormat::kQ5_1:
      return launch_decode<FormatQ5_1>(launch, stream);
    case DeviceFormat::kQ8_0:
      return launch_decode<FormatQ8_0>(launch, stream);
    case DeviceFormat::kQ4_K:
      return launch_decode<FormatQ4_K>(launch, stream);
    case DeviceFormat::kQ5_K:
      return launch_decode<FormatQ5_K>(launch, stream);
    case DeviceFormat::kQ6_K:
      return launch_decode<FormatQ6_K>(launch, stream);
  }
  fail(ErrorCode::kInternal, "no decode kernel for ", device_format_info(format).name);
}

// Up to kMaxDeviceDecodeRows rows from `first_row` on, targets [begin, end).
void decode_rows(const DeviceLinearParams& p, size_t begin, size_t end, int64_t first_row,
                 int64_t num_rows, cudaStream_t stream) {
  DecodeLaunch launch{};
  launch.num_rows = static_cast<int>(num_rows);
  launch.in_features = static_cast<int>(p.in_features);
  launch.x = p.x + first_row * p.x_stride;
  launch.x_stride = p.x_stride;
  launch.num_targets = static_cast<int>(end - begin);
  for (size_t i = begin; i < end; ++i) {
    const DeviceLinearTarget& target = p.targets[i];
    launch.targets[i - begin] = {target.weight.data,
                                 target.bias,
                                 target.y + first_row * target.y_stride,
                                 target.y_stride,
                                 static_cast<int>(target.weight.out_features),
                                 static_cast<int>(ceil_div(target.weight.out_features, kBandRows)),
                                 launch.num_tiles};
    launch.num_tiles += p.swiglu && i > begin ? 0 : tiles_of(p, target);
  }
  launch.accumulate = p.accumulate;
  launch.swiglu = p.swiglu;
  launch.band_bytes = device_band_bytes(p.targets[begin].weight.format, p.in_features);
  launch.num_slices = num_slices(num_rows, p.in_features);
  launch.num_columns =
      std::min(ceil_div(launch.num_tiles, launch.num_slices), num_sms() / launch.num_slices);
  launch.counters = static_cast<int*>(p.workspace);
  launch.partials = reinterpret_cast<float*>(static_cast<std::byte*>(p.workspace) + kCounterBytes);
  launch_format(p.targets[begin].weight.format, launch, stream);
}

void decode(const DeviceLinearParams& p, size_t begin, size_t end, cudaStream_t stream) {
  const int64_t most = rows_of_launch(p.in_features);
  for (int64_t row = 0; row < p.num_rows; row += most) {
    decode_rows(p, begin, end, row, std::min(most, p.num_rows - row), stream);
  }
}

// Rows of a weight widened at a time: whole bands.
int64_t panel_rows(const DeviceWeight& weight, int64_t element_bytes) {
  const int64_t row_bytes = round_up<int64_t>(weight.in_features, 64) * element_bytes;
  const int64_t most = std::max<int64_t>(kPanelBytes / row_bytes / kBandRows, 1) * kBandRows;
  return std::min(most, round_up(weight.out_features, kBandRows));
}

bool needs_panel(const DeviceLinearParams& p, DeviceFormat format) {
  return format != (p.exact ? DeviceFormat::kF32 : DeviceFormat::kBF16);
}

// Scratch of prefill and of exact sums, after the counters.
struct PanelPlan {
  int64_t x = 0;      // activations in bf16
  int64_t panel = 0;  // some rows of a weight, widened
  int64_t gemm = 0;   // cuBLASLt's own
  int64_t up = 0;     // the up projection of a SwiGLU
  int64_t end = 0;

  explicit PanelPlan(const DeviceLinearParams& p) {
    const int64_t stride = round_up<int64_t>(p.in_features, 64);
    end = kCounterBytes;
    const auto take = [&](int64_t bytes) {
      const int64_t at = end;
      end += round_up(bytes, kAlignment);
      return at;
    };
    x = take(p.exact ? 0 : p.num_rows * stride * 2);
    int64_t panel_bytes = 0;
    for (const DeviceLinearTarget& target : p.targets) {
      const int64_t element = p.exact ? 4 : 2;
      panel_bytes =
          std::max(panel_bytes, needs_panel(p, target.weight.format)
                                    ? panel_rows(target.weight, element) * stride * element
                                    : 0);
    }
    panel = take(panel_bytes);
    gemm = take(p.exact ? 0 : DeviceGemm::kWorkspaceBytes);
    up =
        take(p.swiglu ? p.num_rows * p.targets[0].weight.out_features * int64_t{sizeof(float)} : 0);
  }
};

std::byte* at(const DeviceLinearParams& p, int64_t offset) {
  return static_cast<std::byte*>(p.workspace) + offset;
}

// Outputs first … of a target, in f32.
void exact_panel(const DeviceLinearParams& p, const DeviceLinearTarget& target,
                 const PanelPlan& plan, int64_t first, int64_t count, cudaStream_t stream) {
  const DeviceWeight& weight = target.weight;
  const int64_t stride = device_row_stride(DeviceFormat::kF32, weight.in_features);
  const float* values = reinterpret_cast<const float*>(weight.data) + first * stride;
  if (needs_panel(p, weight.format)) {
    auto* panel = reinterpret_cast<float*>(at(p, plan.panel));
    widen({weight, count, nullptr, first, panel, nullptr, stride}, stream);
    values = panel;
  }
  plain_linear({p.num_rows, count, p.in_features, p.x, p.x_stride, values, stride,
                target.bias != nullptr ? target.bias + first : nullptr, target.y + first,
                target.y_stride, p.accumulate},
               stream);
}

void gemm_panel(const DeviceLinearParams& p, const DeviceLinearTarget& target,
                const PanelPlan& plan, int64_t first, int64_t count, cudaStream_t stream) {
  const DeviceWeight& weight = target.weight;
  const int64_t stride = round_up<int64_t>(weight.in_features, 64);
  const bf16* values = reinterpret_cast<const bf16*>(weight.data) + first * stride;
  if (needs_panel(p, weight.format)) {
    auto* panel = reinterpret_cast<bf16*>(at(p, plan.panel));
    widen({weight, count, nullptr, first, nullptr, panel, stride}, stream);
    values = panel;
  }
  p.gemm->multiply({p.num_rows, count, p.in_features, reinterpret_cast<bf16*>(at(p, plan.x)),
                    values, stride, stride, target.bias != nullptr ? target.bias + first : nullptr,
                    target.y + first, target.y_stride, p.accumulate, at(p, plan.gemm)},
                   stream);
}

void by_panels(const DeviceLinearParams& p, cudaStream_t stream) {
  const PanelPlan plan(p);
  if (!p.exact) {
    round_rows(p.num_rows, p.in_features, p.x, p.x_stride, reinterpret_cast<bf16*>(at(p, plan.x)),
               round_up<int64_t>(p.in_features, 64), stream);
  }
  for (size_t t = 0; t < p.targets.size(); ++t) {
    DeviceLinearTarget target = p.targets[t];
    if (p.swiglu && t == 1) {
      target.y = reinterpret_cast<float*>(at(p, plan.up));
      target.y_stride = target.weight.out_features;
    }
    const int64_t rows = needs_panel(p, target.weight.format)
                             ? panel_rows(target.weight, p.exact ? 4 : 2)
                             : target.weight.out_features;
    for (int64_t first = 0; first < target.weight.out_features; first += rows) {
      const int64_t count = std::min(rows, target.weight.out_features - first);
      (p.exact ? exact_panel : gemm_panel)(p, target, plan, first, count, stream);
    }
  }
  if (p.swiglu) {
    const DeviceLinearTarget& gate = p.targets[0];
    const int64_t dim = gate.weight.out_features;
    activation::cuda::silu_mul({p.num_rows, dim, gate.y, reinterpret_cast<float*>(at(p, plan.up)),
                                gate.y_stride, dim, gate.y, gate.y_stride},
                               stream);
  }
}

bool all_decode(const DeviceLinearParams& p) {
  return std::all_of(p.targets.begin(), p.targets.end(), [&](const DeviceLinearTarget& target) {
    return decodes(p, target.weight.format);
  });
}

bool decodes_rows(const DeviceLinearParams& p) {
  return p.num_rows <= kMaxDeviceDecodeRows || p.gemm == nullptr;
}

// F32 weights keep f32 activations, and so do those that share a call with them.
DeviceLinearParams as_panels(DeviceLinearParams p) {
  p.exact = p.exact || !all_decode(p);
  return p;
}

void check_params(const DeviceLinearParams& p) {
  require(!p.targets.empty() && p.num_rows > 0, ErrorCode::kInternal, "linear without work");
  for (const DeviceLinearTarget& target : p.targets) {
    require(target.weight.in_features == p.in_features, ErrorCode::kInternal, "a weight of ",
            target.weight.in_features, " inputs for ", p.in_features);
  }
  const auto pair = [&] {
    const DeviceWeight& gate = p.targets[0].weight;
    const DeviceWeight& up = p.targets[1].weight;
    return gate.format == up.format && gate.out_features == up.out_features;
  };
  require(!p.swiglu || (p.targets.size() == 2 && !p.accumulate && pair()), ErrorCode::kInternal,
          "SwiGLU takes a gate and an up of one format and shape");
}

}  // namespace

int64_t linear_workspace_bytes(const DeviceLinearParams& params) {
  const int64_t decoding = kCounterBytes + decode_bytes(params);
  if (all_decode(params) && decodes_rows(params)) {
    return decoding;
  }
  return std::max(decoding, PanelPlan(as_panels(params)).end);
}

void linear(const DeviceLinearParams& params, CUstream_st* stream) {
  check_params(params);
  if (!all_decode(params) || !decodes_rows(params)) {
    return by_panels(as_panels(params), stream);
  }
  for (size_t begin = 0; begin < params.targets.size();) {
    const size_t end = end_of_launch(params, begin);
    decode(params, begin, end, stream);
    begin = end;
  }
}

void embedding(const EmbeddingParams& p, CUstream_st* stream) {
  widen({p.weight, p.num_rows, p.ids, 0, p.y, nullptr, p.y_stride}, stream);
}

}  // namespace lychee::linear::cuda
