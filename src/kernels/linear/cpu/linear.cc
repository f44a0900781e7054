#include "kernels/linear/linear.h"

#include <omp.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/math.h"
#include "kernels/linear/cpu/float_dot.h"
#include "kernels/linear/cpu/int8_dot.h"
#include "kernels/linear/cpu/prefill_gemm.h"
#include "kernels/linear/cpu/rounded_rows.h"

namespace lychee::linear::cpu {
namespace {

constexpr int64_t kAlignment = 64;

using RowsByOrder = std::array<std::optional<RoundedRows>, kRowOrders>;

bool uses_int8(const LinearGroupParams& params, const LinearTarget& target) {
  return is_quantized(target.weight_dtype) && !params.exact && can_round_rows();
}

bool needs(const LinearGroupParams& params, RowOrder order) {
  return std::any_of(params.targets.begin(), params.targets.end(), [&](const LinearTarget& t) {
    return uses_int8(params, t) && row_order(t.weight_dtype) == order;
  });
}

// Floats of scratch for one thread.
int64_t thread_floats(int64_t in_features) {
  return round_up<int64_t>(std::max(in_features, int8_scratch_floats(in_features)), 16);
}

// Rounds the activations once for every order that a target asks for.
RowsByOrder round_rows(const LinearGroupParams& p, std::byte* memory) {
  RowsByOrder rows;
  for (int64_t i = 0; i < kRowOrders; ++i) {
    const auto order = static_cast<RowOrder>(i);
    if (!needs(p, order)) {
      continue;
    }
    rows[static_cast<size_t>(i)] = rounded_rows_in(memory, order, p.num_rows, p.in_features);
    memory += rounded_rows_bytes(order, p.num_rows, p.in_features);
    const RoundedRows& rounded = *rows[static_cast<size_t>(i)];
#pragma omp parallel for schedule(static) if (p.num_rows > 1)
    for (int64_t r = 0; r < p.num_rows; ++r) {
      round_row(p.x + r * p.x_stride, p.in_features, rounded, r);
    }
  }
  return rows;
}

// The part of all targets' outputs, one after the other, that lies in [begin, end).
void outputs(const LinearGroupParams& p, const RowsByOrder& rows, int64_t begin, int64_t end,
             float* scratch) {
  int64_t base = 0;
  for (const LinearTarget& target : p.targets) {
    const int64_t from = std::max(begin - base, int64_t{0});
    const int64_t to = std::min(end - base, target.out_features);
    base += target.out_features;
    if (from >= to) {
      continue;
    }
    if (uses_int8(p, target)) {
      const auto order = static_cast<size_t>(row_order(target.weight_dtype));
      int8_outputs(target, *rows[order], p.num_rows, p.in_features, p.accumulate, from, to,
                   scratch);
    } else {
      float_outputs(p, target, from, to, scratch);
    }
  }
}

// For at most kMaxDecodeRows rows.
int64_t decode_bytes(const LinearGroupParams& p, int64_t num_rows) {
  int64_t bytes =
      omp_get_max_threads() * thread_floats(p.in_features) * static_cast<int64_t>(sizeof(float));
  for (int64_t i = 0; i < kRowOrders; ++i) {
    if (needs(p, static_cast<RowOrder>(i))) {
      bytes += rounded_rows_bytes(static_cast<RowOrder>(i), num_rows, p.in_features);
    }
  }
  return round_up(bytes, kAlignment);
}

LinearTarget target_of(const LinearParams& p) {
  return {p.out_features, p.weight_dtype, p.weight, p.bias, p.y, p.y_stride};
}

LinearGroupParams group_of(const LinearParams& p, const LinearTarget& target) {
  return {p.num_rows,   p.in_features, p.x,     p.x_stride,
          {&target, 1}, p.accumulate,  p.exact, p.workspace};
}

}  // namespace

int64_t linear_group_workspace_bytes(const LinearGroupParams& p) {
  const int64_t decode = decode_bytes(p, std::min(p.num_rows, kMaxDecodeRows));
  return p.num_rows > kMaxDecodeRows ? std::max(decode, prefill_gemm_bytes(p)) : decode;
}

void linear_group(const LinearGroupParams& p) {
  if (p.num_rows > kMaxDecodeRows) {
    for (const LinearTarget& target : p.targets) {
      prefill_gemm(p, target);
    }
    return;
  }
  const int64_t floats = thread_floats(p.in_features);
  auto* scratch = static_cast<float*>(p.workspace);
  const RowsByOrder rows =
      round_rows(p, reinterpret_cast<std::byte*>(scratch + omp_get_max_threads() * floats));
  int64_t total = 0;
  for (const LinearTarget& target : p.targets) {
    total += target.out_features;
  }
#pragma omp parallel
  {
    const int64_t thread = omp_get_thread_num();
    const int64_t threads = omp_get_num_threads();
    outputs(p, rows, total * thread / threads, total * (thread + 1) / threads,
            scratch + thread * floats);
  }
}

int64_t linear_workspace_bytes(const LinearParams& params) {
  const LinearTarget target = target_of(params);
  return linear_group_workspace_bytes(group_of(params, target));
}

void linear(const LinearParams& params) {
  const LinearTarget target = target_of(params);
  linear_group(group_of(params, target));
}

}  // namespace lychee::linear::cpu
