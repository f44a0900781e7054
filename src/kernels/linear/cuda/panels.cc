#include "kernels/linear/cuda/panels.h"

#include <algorithm>

#include "base/math.h"
#include "kernels/activation/silu_mul.h"
#include "kernels/linear/cuda/decode/launch.h"
#include "kernels/linear/cuda/widen.h"

namespace lychee::linear::cuda {
namespace {

constexpr int64_t kAlignment = 256;
constexpr int64_t kPanelBytes = int64_t{64} << 20;

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
                 const PanelPlan& plan, int64_t first, int64_t count, CUstream_st* stream) {
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
                const PanelPlan& plan, int64_t first, int64_t count, CUstream_st* stream) {
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

}  // namespace

int64_t panels_workspace_bytes(const DeviceLinearParams& params) {
  return PanelPlan(params).end;
}

void linear_by_panels(const DeviceLinearParams& p, CUstream_st* stream) {
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

}  // namespace lychee::linear::cuda
