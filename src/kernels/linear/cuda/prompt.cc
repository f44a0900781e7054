#include <algorithm>
#include <vector>

#include "base/check.h"
#include "base/math.h"
#include "kernels/activation/silu_mul.h"
#include "kernels/linear/cuda/decode/launch.h"
#include "kernels/linear/cuda/panels.h"
#include "kernels/linear/device_linear.h"

namespace lychee::linear::cuda {
namespace {

// Scratch, after the counters of the decode kernel, which must stay zero.
struct PromptPlan {
  int64_t gemm = 0;     // cuBLASLt's own
  int64_t panel = 0;    // some rows of a weight, widened
  int64_t gate_up = 0;  // [num_rows, gate and up], in bf16
  int64_t end = 0;

  explicit PromptPlan(const PromptLinearParams& p) {
    gemm = round_up(kCounterBytes, kScratchAlignment);
    panel = gemm + DeviceGemm::kWorkspaceBytes;
    int64_t panel_bytes = 0;
    for (const DeviceLinearTarget& target : p.targets) {
      panel_bytes = std::max(panel_bytes, gemm_panel_bytes(target.weight));
    }
    gate_up = panel + round_up(panel_bytes, kScratchAlignment);
    const int64_t outputs = p.targets.front().weight.out_features;
    const int64_t num_rounded = p.swiglu != nullptr ? 2 * p.num_rows * outputs : 0;
    end = gate_up + num_rounded * int64_t{sizeof(bf16)};
  }
};

// Where a product's results go: f32 or bf16.
struct Result {
  DeviceWeight weight;
  const float* bias;
  float* y;
  bf16* y_bf16;
  int64_t y_stride;
};

// Whether `b` goes on where `a` ends, so that both together are one matrix.
bool follows(const Result& a, const Result& b) {
  const int64_t rows = a.weight.out_features;
  const int64_t bytes =
      device_weight_bytes(a.weight.format, a.weight.in_features, a.weight.out_features);
  return a.weight.format == DeviceFormat::kBF16 && b.weight.format == DeviceFormat::kBF16 &&
         rows % kBandRows == 0 && a.weight.data + bytes == b.weight.data &&
         (a.bias == nullptr ? b.bias == nullptr : a.bias + rows == b.bias) &&
         (a.y == nullptr ? a.y_bf16 + rows == b.y_bf16 : a.y + rows == b.y) &&
         a.y_stride == b.y_stride;
}

std::vector<Result> joined(const std::vector<Result>& results) {
  std::vector<Result> joined;
  for (const Result& result : results) {
    if (!joined.empty() && follows(joined.back(), result)) {
      joined.back().weight.out_features += result.weight.out_features;
    } else {
      joined.push_back(result);
    }
  }
  return joined;
}

void check_params(const PromptLinearParams& p) {
  require(p.gemm != nullptr && p.num_rows > 0 && !p.targets.empty() && p.in_features % 8 == 0 &&
              p.x_stride % 8 == 0,
          ErrorCode::kInternal, "prompt_linear: ", p.num_rows, " rows of ", p.in_features);
  for (const DeviceLinearTarget& target : p.targets) {
    require(
        target.weight.in_features == p.in_features && target.weight.format != DeviceFormat::kF32,
        ErrorCode::kInternal, "prompt_linear: a weight of ", target.weight.in_features,
        " inputs in ", device_format_info(target.weight.format).name);
  }
  if (p.swiglu != nullptr) {
    const DeviceLinearTarget& gate = p.targets.front();
    const DeviceLinearTarget& up = p.targets.back();
    require(p.targets.size() == 2 && !p.accumulate && gate.bias == nullptr && up.bias == nullptr &&
                gate.weight.out_features == up.weight.out_features &&
                up.weight.out_features % 8 == 0,
            ErrorCode::kInternal, "SwiGLU takes a gate and an up of one shape without biases");
  }
}

}  // namespace

int64_t prompt_linear_workspace_bytes(const PromptLinearParams& params) {
  return PromptPlan(params).end;
}

void prompt_linear(const PromptLinearParams& p, CUstream_st* stream) {
  check_params(p);
  const PromptPlan plan(p);
  auto* const workspace = static_cast<std::byte*>(p.workspace);
  auto* const gate_up = reinterpret_cast<bf16*>(workspace + plan.gate_up);
  const int64_t outputs = p.targets.front().weight.out_features;
  std::vector<Result> results;
  for (const DeviceLinearTarget& target : p.targets) {
    const Result rounded{target.weight, nullptr, nullptr, gate_up + (results.empty() ? 0 : outputs),
                         2 * outputs};
    results.push_back(p.swiglu != nullptr
                          ? rounded
                          : Result{target.weight, target.bias, target.y, nullptr, target.y_stride});
  }
  for (const Result& result : joined(results)) {
    multiply_by_panels({.gemm = p.gemm,
                        .num_rows = p.num_rows,
                        .x = p.x,
                        .x_stride = p.x_stride,
                        .weight = result.weight,
                        .bias = result.bias,
                        .y = result.y,
                        .y_bf16 = result.y_bf16,
                        .y_stride = result.y_stride,
                        .accumulate = p.accumulate,
                        .panel = workspace + plan.panel,
                        .gemm_workspace = workspace + plan.gemm},
                       stream);
  }
  if (p.swiglu != nullptr) {
    activation::cuda::silu_mul({.num_rows = p.num_rows,
                                .dim = outputs,
                                .gate = gate_up,
                                .up = gate_up + outputs,
                                .gate_stride = 2 * outputs,
                                .up_stride = 2 * outputs,
                                .y = p.swiglu,
                                .y_stride = outputs},
                               stream);
  }
}

}  // namespace lychee::linear::cuda
