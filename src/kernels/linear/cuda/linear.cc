#include <cuda_runtime_api.h>

#include <algorithm>

#include "base/check.h"
#include "base/math.h"
#include "kernels/activation/silu_mul.h"
#include "kernels/linear/cuda/decode/formats.h"
#include "kernels/linear/cuda/decode/launch.h"
#include "kernels/linear/cuda/panels.h"
#include "kernels/linear/cuda/widen.h"
#include "kernels/linear/device_linear.h"
#include "kernels/norm/rms_norm.h"
#include "tensor/cuda/device_attribute.h"

namespace lychee::linear::cuda {
namespace {

// That a launch can ask for, beside what the kernel declares.
int64_t shared_bytes() {
  return device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin) - 1024;
}

int64_t floats(int64_t count) {
  return round_up<int64_t>(count * int64_t{sizeof(float)}, kScratchAlignment);
}

bool decodes(const DeviceLinearParams& p, DeviceFormat format) {
  return !p.exact && format != DeviceFormat::kF32;
}

// Calls fn.operator()<Format>() for the Format of decode/formats.cuh.
template <typename Fn>
auto with_format(DeviceFormat format, const Fn& fn) {
  switch (format) {
    case DeviceFormat::kF32:
      break;
    case DeviceFormat::kF16:
      return fn.template operator()<FormatF16>();
    case DeviceFormat::kBF16:
      return fn.template operator()<FormatBf16>();
    case DeviceFormat::kFp8:
      return fn.template operator()<FormatFp8>();
    case DeviceFormat::kInt8:
      return fn.template operator()<FormatInt8>();
    case DeviceFormat::kInt4:
      return fn.template operator()<FormatInt4>();
    case DeviceFormat::kInt4G32:
      return fn.template operator()<FormatInt4G32>();
    case DeviceFormat::kQ4_1:
      return fn.template operator()<FormatQ4_1>();
    case DeviceFormat::kQ5_0:
      return fn.template operator()<FormatQ5_0>();
    case DeviceFormat::kQ5_1:
      return fn.template operator()<FormatQ5_1>();
    case DeviceFormat::kQ8_0:
      return fn.template operator()<FormatQ8_0>();
    case DeviceFormat::kQ4_K:
      return fn.template operator()<FormatQ4_K>();
    case DeviceFormat::kQ5_K:
      return fn.template operator()<FormatQ5_K>();
    case DeviceFormat::kQ6_K:
      return fn.template operator()<FormatQ6_K>();
  }
  fail(ErrorCode::kInternal, "no decode kernel for ", device_format_info(format).name);
}

// Whether a block of so many slices can take its share of so many rows, and with it a ring that
// covers the latency of memory; or half of what there is, where that is less.
bool fits(const DeviceLinearParams& p, int64_t num_rows, int slices) {
  const auto rows = static_cast<int>(num_rows);
  const int float_rows = p.rounded_x != nullptr ? 0 : rows + (p.norm.weight != nullptr ? 1 : 0);
  return std::all_of(p.targets.begin(), p.targets.end(), [&](const DeviceLinearTarget& target) {
    if (!decodes(p, target.weight.format)) {
      return true;
    }
    const DecodeMemory memory = with_format(target.weight.format, [&]<typename Format>() {
      return decode_memory<Format>(static_cast<int>(p.in_features), rows, float_rows, slices);
    });
    return memory.staged + std::min(memory.ring, shared_bytes() / 2) <= shared_bytes();
  });
}

// At most so many rows fit into the shared memory of kMaxSlices blocks.
int64_t rows_of_launch(const DeviceLinearParams& p) {
  int64_t rows = std::min(p.num_rows, kMaxDeviceDecodeRows);
  while (rows > 0 && !fits(p, rows, kMaxSlices)) {
    --rows;
  }
  require(rows > 0, ErrorCode::kUnsupported, "linear: rows of ", p.in_features,
          " inputs are too long for the GPU");
  return rows;
}

int num_slices(const DeviceLinearParams& p, int64_t num_rows) {
  int slices = 1;
  while (slices < kMaxSlices && !fits(p, num_rows, slices)) {
    slices *= 2;
  }
  return slices;
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

int64_t decode_bytes(const DeviceLinearParams& p) {
  int64_t tiles = 0;
  for (const DeviceLinearTarget& target : p.targets) {
    tiles += tiles_of(p, target);
  }
  // More slices for more rows and for f32, so no others need more.
  DeviceLinearParams widest = p;
  widest.rounded_x = nullptr;
  const int64_t num_rows = std::min(p.num_rows, kMaxDeviceDecodeRows);
  const int slices = num_slices(widest, num_rows);
  return slices == 1 ? 0 : floats(slices * tiles * 128 * (num_rows > 8 ? 2 : 1));
}

// Up to kMaxDeviceDecodeRows rows from `first_row` on, targets [begin, end).
void decode_rows(const DeviceLinearParams& p, size_t begin, size_t end, int64_t first_row,
                 int64_t num_rows, cudaStream_t stream) {
  DecodeLaunch launch{};
  launch.num_rows = static_cast<int>(num_rows);
  launch.in_features = static_cast<int>(p.in_features);
  if (p.rounded_x != nullptr) {
    launch.rounded_x = p.rounded_x + first_row * p.x_stride;
  } else {
    launch.x = p.x + first_row * p.x_stride;
  }
  launch.x_stride = p.x_stride;
  launch.norm_weight = p.norm.weight;
  launch.norm_eps = p.norm.eps;
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
  if (p.rounded_swiglu != nullptr) {
    launch.rounded_swiglu = p.rounded_swiglu + first_row * p.targets[begin].weight.out_features;
  }
  launch.band_bytes = device_band_bytes(p.targets[begin].weight.format, p.in_features);
  launch.num_slices = num_slices(p, num_rows);
  // As many as the last to end needs: what is left over of the multiprocessors takes small kernels
  // beside this one, such as the next norm.
  const int groups = ceil_div(launch.num_tiles, launch.num_slices);
  const int most = device_attribute(cudaDevAttrMultiProcessorCount) / launch.num_slices;
  launch.num_columns = ceil_div(groups, ceil_div(groups, most));
  launch.shared_bytes = static_cast<int>(shared_bytes());
  launch.counters = static_cast<int*>(p.workspace);
  launch.partials = reinterpret_cast<float*>(static_cast<std::byte*>(p.workspace) + kCounterBytes);
  with_format(p.targets[begin].weight.format,
              [&]<typename Format>() { launch_decode<Format>(launch, stream); });
}

void decode(const DeviceLinearParams& p, size_t begin, size_t end, cudaStream_t stream) {
  const int64_t most = rows_of_launch(p);
  for (int64_t row = 0; row < p.num_rows; row += most) {
    decode_rows(p, begin, end, row, std::min(most, p.num_rows - row), stream);
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

bool decodes_call(const DeviceLinearParams& p) {
  return all_decode(p) && decodes_rows(p);
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
  require(!p.swiglu || (p.targets.size() == 2 && !p.accumulate &&
                        p.targets[0].weight.out_features == p.targets[1].weight.out_features),
          ErrorCode::kInternal, "SwiGLU takes a gate and an up of one shape");
  const bool rounds = p.rounded_x != nullptr || p.norm.weight != nullptr;
  require((p.x == nullptr) != (p.rounded_x == nullptr) &&
              ((!rounds && p.rounded_swiglu == nullptr) || decodes_call(p)) &&
              (p.rounded_swiglu == nullptr || p.swiglu) &&
              (p.norm.weight == nullptr ||
               (p.x != nullptr && p.in_features % 8 == 0 && p.x_stride % 4 == 0)),
          ErrorCode::kInternal, "linear: ", p.num_rows, " rows of ", p.in_features,
          " cannot be rounded");
}

// Whether each block makes the norm itself.
bool fuses_norm(const DeviceLinearParams& p) {
  return p.num_rows <= kMaxFusedNormRows && fits(p, p.num_rows, 1);
}

// Its norm apart, into norm.rows.
DeviceLinearParams normalized(const DeviceLinearParams& p, cudaStream_t stream) {
  norm::cuda::rms_norm(norm::RoundedRmsNormParams{.num_rows = p.num_rows,
                                                  .dim = p.in_features,
                                                  .x = p.x,
                                                  .x_stride = p.x_stride,
                                                  .weight = p.norm.weight,
                                                  .eps = p.norm.eps,
                                                  .y = p.norm.rows,
                                                  .y_stride = p.in_features},
                       stream);
  DeviceLinearParams rows = p;
  rows.x = nullptr;
  rows.rounded_x = p.norm.rows;
  rows.x_stride = p.in_features;
  rows.norm = {};
  return rows;
}

// Whether gate and up are projected before SwiGLU, and not in its launch, which takes one format
// and no biases.
bool projects_apart(const DeviceLinearParams& p) {
  return p.swiglu && (p.targets[0].weight.format != p.targets[1].weight.format ||
                      p.targets[0].bias != nullptr || p.targets[1].bias != nullptr);
}

// Where the projections of projects_apart() lie in the workspace, gate and up: behind the partial
// sums.
int64_t projections_offset(DeviceLinearParams p) {
  p.swiglu = false;
  return kCounterBytes + decode_bytes(p);
}

int64_t decode_workspace_bytes(const DeviceLinearParams& p) {
  if (!projects_apart(p)) {
    return kCounterBytes + decode_bytes(p);
  }
  const int64_t rows = decodes_rows(p) ? p.num_rows : kMaxDeviceDecodeRows;
  return projections_offset(p) + 2 * floats(rows * p.targets[1].weight.out_features);
}

void decode_targets(const DeviceLinearParams& p, cudaStream_t stream) {
  for (size_t begin = 0; begin < p.targets.size();) {
    const size_t end = end_of_launch(p, begin);
    decode(p, begin, end, stream);
    begin = end;
  }
}

void decode_apart(const DeviceLinearParams& p, cudaStream_t stream) {
  const bool rounds = p.rounded_swiglu != nullptr;
  const int64_t dim = p.targets[0].weight.out_features;
  std::byte* const place = static_cast<std::byte*>(p.workspace) + projections_offset(p);
  auto* const gate = reinterpret_cast<float*>(place);
  auto* const up = reinterpret_cast<float*>(place + floats(p.num_rows * dim));
  const DeviceLinearTarget targets[] = {{p.targets[0].weight, p.targets[0].bias, gate, dim},
                                        {p.targets[1].weight, p.targets[1].bias, up, dim}};
  DeviceLinearParams projections = p;
  projections.targets = targets;
  projections.swiglu = false;
  projections.rounded_swiglu = nullptr;
  decode_targets(projections, stream);
  activation::cuda::silu_mul({.num_rows = p.num_rows,
                              .dim = dim,
                              .gate = gate,
                              .up = up,
                              .gate_stride = dim,
                              .up_stride = dim,
                              .y = rounds ? gate : p.targets[0].y,
                              .y_stride = rounds ? dim : p.targets[0].y_stride},
                             stream);
  if (rounds) {
    round_rows(p.num_rows, dim, gate, dim, p.rounded_swiglu, dim, stream);
  }
}

}  // namespace

int64_t linear_workspace_bytes(const DeviceLinearParams& params) {
  const int64_t decoding = decode_workspace_bytes(params);
  if (decodes_call(params)) {
    return decoding;
  }
  return std::max(decoding, panels_workspace_bytes(as_panels(params)));
}

void linear(const DeviceLinearParams& params, CUstream_st* stream) {
  check_params(params);
  if (!decodes_call(params)) {
    return linear_by_panels(as_panels(params), stream);
  }
  const bool apart = params.norm.weight != nullptr && !fuses_norm(params);
  const DeviceLinearParams rows = apart ? normalized(params, stream) : params;
  (projects_apart(rows) ? decode_apart : decode_targets)(rows, stream);
}

void embedding(const EmbeddingParams& p, CUstream_st* stream) {
  widen({p.weight, p.num_rows, p.ids, 0, p.y, nullptr, p.y_stride}, stream);
}

}  // namespace lychee::linear::cuda
