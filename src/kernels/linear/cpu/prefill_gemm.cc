#include "kernels/linear/cpu/prefill_gemm.h"

#include <omp.h>

#include <algorithm>
#include <bit>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>

#include "base/check.h"
#include "base/math.h"
#include "tensor/buffer.h"

namespace lychee::linear::cpu {
namespace {

using dnnl::memory;

constexpr int64_t kAlignment = 64;
constexpr auto kFloatBytes = static_cast<int64_t>(sizeof(float));

// Outputs widened at a time: about 4 MB, so that a panel is still cached when it is multiplied.
int64_t panel_outputs(int64_t in_features) {
  return std::max<int64_t>((int64_t{1} << 20) / in_features / 64 * 64, 128);
}

// Aligned f32 weights are multiplied where they lie.
bool reads_in_place(const LinearTarget& target) {
  return target.weight_dtype == DType::kF32 &&
         std::bit_cast<uintptr_t>(target.weight) % sizeof(float) == 0;
}

int64_t outputs_at_once(const LinearGroupParams& params, const LinearTarget& target) {
  return reads_in_place(target) ? target.out_features
                                : std::min(target.out_features, panel_outputs(params.in_features));
}

// Above what oneDNN 2.6 asks for: packing buffers per thread and, without AVX-512, a copy of y.
int64_t scratch_bytes(int64_t num_rows, int64_t outputs) {
  constexpr int64_t kPerThread = int64_t{512} << 10;
  return round_up(num_rows * outputs * kFloatBytes, kAlignment) +
         kPerThread * (1 + omp_get_max_threads());
}

void widen_panel(const LinearGroupParams& p, const LinearTarget& target, int64_t begin,
                 int64_t count, float* panel) {
  const int64_t row_bytes = dtype_bytes(target.weight_dtype, p.in_features);
#pragma omp parallel for schedule(static)
  for (int64_t o = 0; o < count; ++o) {
    dequantize(target.weight_dtype, target.weight + (begin + o) * row_bytes, p.in_features,
               panel + o * p.in_features);
  }
}

// One product of oneDNN. It keeps the compiled primitives of up to 1024 shapes itself, so that
// describing one again costs microseconds.
class Product {
 public:
  Product(const LinearGroupParams& p, const LinearTarget& target, int64_t outputs)
      : engine_(dnnl::engine::kind::cpu, 0) {
    const auto f32 = memory::data_type::f32;
    const memory::desc x({p.num_rows, p.in_features}, f32, memory::dims{p.x_stride, 1});
    const memory::desc w({p.in_features, outputs}, f32, memory::dims{1, p.in_features});
    const memory::desc y({p.num_rows, outputs}, f32, memory::dims{target.y_stride, 1});
    const memory::desc bias({1, outputs}, f32, memory::dims{outputs, 1});
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (p.accumulate) {
      dnnl::post_ops sum;
      sum.append_sum(1.0F);
      attributes.set_post_ops(sum);
    }
    const dnnl::matmul::desc description =
        target.bias != nullptr ? dnnl::matmul::desc(x, w, bias, y) : dnnl::matmul::desc(x, w, y);
    description_ = dnnl::matmul::primitive_desc(description, attributes, engine_);
    matmul_ = dnnl::matmul(description_);
  }

  // `scratch` has room for `bytes`.
  void run(const float* x, const float* w, const float* bias, float* y, std::byte* scratch,
           int64_t bytes) {
    const auto needed = static_cast<int64_t>(description_.scratchpad_desc().get_size());
    Buffer larger(needed > bytes ? needed : 0);
    std::unordered_map<int, memory> arguments = {
        {DNNL_ARG_SRC, wrap(description_.src_desc(), x)},
        {DNNL_ARG_WEIGHTS, wrap(description_.weights_desc(), w)},
        {DNNL_ARG_DST, wrap(description_.dst_desc(), y)},
        {DNNL_ARG_SCRATCHPAD,
         wrap(description_.scratchpad_desc(), needed > bytes ? larger.data() : scratch)}};
    if (bias != nullptr) {
      arguments.emplace(DNNL_ARG_BIAS, wrap(description_.bias_desc(), bias));
    }
    dnnl::stream stream(engine_);
    matmul_.execute(stream, arguments);
    stream.wait();
  }

 private:
  memory wrap(const memory::desc& description, const void* data) {
    return {description, engine_, const_cast<void*>(data)};
  }

  dnnl::engine engine_;
  dnnl::matmul::primitive_desc description_;
  dnnl::matmul matmul_;
};

void multiply(const LinearGroupParams& p, const LinearTarget& target, int64_t begin, int64_t count,
              const float* weight, std::byte* scratch, int64_t bytes) {
  try {
    Product(p, target, count)
        .run(p.x, weight, target.bias != nullptr ? target.bias + begin : nullptr, target.y + begin,
             scratch, bytes);
  } catch (const dnnl::error& error) {
    fail(ErrorCode::kInternal, "oneDNN cannot multiply ", p.num_rows, " x ", p.in_features, " by ",
         count, ": ", error.what());
  }
}

}  // namespace

int64_t prefill_gemm_bytes(const LinearGroupParams& p) {
  int64_t bytes = 0;
  for (const LinearTarget& target : p.targets) {
    const int64_t outputs = outputs_at_once(p, target);
    const int64_t panel = reads_in_place(target) ? 0 : outputs * p.in_features * kFloatBytes;
    bytes = std::max(bytes, round_up(panel, kAlignment) + scratch_bytes(p.num_rows, outputs));
  }
  return bytes;
}

void prefill_gemm(const LinearGroupParams& p, const LinearTarget& target) {
  const int64_t step = outputs_at_once(p, target);
  const bool in_place = reads_in_place(target);
  auto* panel = static_cast<float*>(p.workspace);
  auto* scratch = static_cast<std::byte*>(p.workspace) +
                  (in_place ? 0 : round_up(step * p.in_features * kFloatBytes, kAlignment));
  for (int64_t begin = 0; begin < target.out_features; begin += step) {
    const int64_t count = std::min(step, target.out_features - begin);
    if (!in_place) {
      widen_panel(p, target, begin, count, panel);
    }
    const auto* weight =
        in_place ? reinterpret_cast<const float*>(target.weight) + begin * p.in_features : panel;
    multiply(p, target, begin, count, weight, scratch, scratch_bytes(p.num_rows, step));
  }
}

}  // namespace lychee::linear::cpu
