#include "kernels/linear/cuda/panels.h"

#include <algorithm>

#include "base/math.h"
#include "kernels/activation/silu_mul.h"
#include "kernels/linear/cuda/decode/launch.h"
#include "kernels/linear/cuda/widen.h"

namespace lychee::linear::cuda {
namespace {

constexpr int64_t kPanelBytes = int64_t{64} << 20;

// Rows of a weight widened to T at a time: whole bands.
template <typename T>
int64_t panel_rows(const DeviceWeight& weight) {
  const int64_t row_bytes = plain_row_stride(weight.in_features) * int64_t{sizeof(T)};
  const int64_t most = std::max<int64_t>(kPanelBytes / row_bytes / kBandRows, 1) * kBandRows;
  return std::min(most, round_up(weight.out_features, kBandRows));
}

template <typename T>
int64_t widened_bytes(const DeviceWeight& weight) {
  return panel_rows<T>(weight) * plain_row_stride(weight.in_features) * int64_t{sizeof(T)};
}

int64_t exact_panel_bytes(const DeviceWeight& weight) {
  return weight.format == DeviceFormat::kF32 ? 0 : widened_bytes<float>(weight);
}

// Scratch of prefill and of exact sums, after the counters.
struct PanelPlan {
  int64_t x = 0;      // activations in bf16
  int64_t panel = 0;  // some rows of a weight, widened
  int64_t gemm = 0;   // cuBLASLt's own
  int64_t up = 0;     // the up projection of a SwiGLU
  int64_t end = 0;

  explicit PanelPlan(const DeviceLinearParams& p) {
    end = kCounterBytes;
    const auto take = [&](int64_t bytes) {
      const int64_t at = end;
      end += round_up(bytes, kScratchAlignment);
      return at;
    };
    x = take(p.exact ? 0 : p.num_rows * plain_row_stride(p.in_features) * int64_t{sizeof(bf16)});
    int64_t panel_bytes = 0;
    for (const DeviceLinearTarget& target : p.targets) {
      panel_bytes = std::max(panel_bytes, p.exact ? exact_panel_bytes(target.weight)
                                                  : gemm_panel_bytes(target.weight));
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
                 const PanelPlan& plan, int64_t first, int64_t count, CUstream_st* stream) {
  const DeviceWeight& weight = target.weight;
  const int64_t stride = plain_row_stride(weight.in_features);
  const float* values = reinterpret_cast<const float*>(weight.data) + first * stride;
  if (weight.format != DeviceFormat::kF32) {
    auto* panel = reinterpret_cast<float*>(at(p, plan.panel));
    widen({weight, count, nullptr, first, panel, nullptr, stride}, stream);
    values = panel;
  }
  plain_linear({p.num_rows, count, p.in_features, p.x, p.x_stride, values, stride,
                target.bias != nullptr ? target.bias + first : nullptr, target.y + first,
                target.y_stride, p.accumulate},
               stream);
}

void gemm_target(const DeviceLinearParams& p, const DeviceLinearTarget& target,
                 const PanelPlan& plan, CUstream_st* stream) {
  multiply_by_panels({.gemm = p.gemm,
                      .num_rows = p.num_rows,
                      .x = reinterpret_cast<const bf16*>(at(p, plan.x)),
                      .x_stride = plain_row_stride(p.in_features),
                      .weight = target.weight,
                      .bias = target.bias,
                      .y = target.y,
                      .y_bf16 = nullptr,
                      .y_stride = target.y_stride,
                      .accumulate = p.accumulate,
                      .panel = at(p, plan.panel),
                      .gemm_workspace = at(p, plan.gemm)},
                     stream);
}

void exact_target(const DeviceLinearParams& p, const DeviceLinearTarget& target,
                  const PanelPlan& plan, CUstream_st* stream) {
  const int64_t rows = target.weight.format == DeviceFormat::kF32
                           ? target.weight.out_features
                           : panel_rows<float>(target.weight);
  for (int64_t first = 0; first < target.weight.out_features; first += rows) {
    exact_panel(p, target, plan, first, std::min(rows, target.weight.out_features - first), stream);
  }
}

}  // namespace

int64_t gemm_panel_bytes(const DeviceWeight& weight) {
  return weight.format == DeviceFormat::kBF16 ? 0 : widened_bytes<bf16>(weight);
}

void multiply_by_panels(const PanelProduct& p, CUstream_st* stream) {
  const DeviceWeight& weight = p.weight;
  const int64_t stride = plain_row_stride(weight.in_features);
  const bool widened = weight.format != DeviceFormat::kBF16;
  const int64_t rows = widened ? panel_rows<bf16>(weight) : weight.out_features;
  for (int64_t first = 0; first < weight.out_features; first += rows) {
    const int64_t count = std::min(rows, weight.out_features - first);
    const bf16* values = reinterpret_cast<const bf16*>(weight.data) + first * stride;
    if (widened) {
      auto* panel = static_cast<bf16*>(p.panel);
      widen({weight, count, nullptr, first, nullptr, panel, stride}, stream);
      values = panel;
    }
    const bool in_f32 = p.y != nullptr;
    p.gemm->multiply({.num_rows = p.num_rows,
                      .out_features = count,
                      .in_features = weight.in_features,
                      .in = p.x,
                      .weight = values,
                      .in_stride = p.x_stride,
                      .weight_stride = stride,
                      .bias = p.bias != nullptr ? p.bias + first : nullptr,
                      .out_dtype = in_f32 ? DType::kF32 : DType::kBF16,
                      .out = in_f32 ? static_cast<void*>(p.y + first) : p.y_bf16 + first,
                      .out_stride = p.y_stride,
                      .accumulate = p.accumulate,
                      .workspace = p.gemm_workspace},
                     stream);
  }
}

int64_t panels_workspace_bytes(const DeviceLinearParams& params) {
  return PanelPlan(params).end;
}

void linear_by_panels(const DeviceLinearParams& p, CUstream_st* stream) {
  const PanelPlan plan(p);
  if (!p.exact) {
    round_rows(p.num_rows, p.in_features, p.x, p.x_stride, reinterpret_cast<bf16*>(at(p, plan.x)),
               plain_row_stride(p.in_features), stream);
  }
  for (size_t t = 0; t < p.targets.size(); ++t) {
    DeviceLinearTarget target = p.targets[t];
    if (p.swiglu && t == 1) {
      target.y = reinterpret_cast<float*>(at(p, plan.up));
      target.y_stride = target.weight.out_features;
    }
    (p.exact ? exact_target : gemm_target)(p, target, plan, stream);
  }
  if (p.swiglu) {
    const DeviceLinearTarget& gate = p.targets[0];
    const int64_t dim = gate.weight.out_features;
    activation::cuda::silu_mul({p.num_rows, dim, gate.y, reinterpret_cast<float*>(at(p, plan.up)),
                                gate.y_stride, dim, gate.y, gate.y_stride},
                               stream);
  }
}

}  // namespace lychee::linear::cuda
