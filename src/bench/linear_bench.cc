#include "bench/linear_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>

#include "base/check.h"
#include "kernels/linear/device_linear.h"
#include "tensor/device.h"

namespace lychee::bench {

namespace {

struct ModelShape {
  std::string_view name;
  int64_t hidden, q, kv, intermediate, vocabulary;
};
constexpr std::array<ModelShape, 4> kModels = {{
    {"llama3-8b", 4096, 4096, 1024, 14336, 128256},
    {"qwen3-8b", 4096, 4096, 1024, 12288, 151936},
    {"qwen2.5-7b", 3584, 3584, 512, 18944, 152064},
    {"llama3-70b", 8192, 8192, 1024, 28672, 128256},
}};
constexpr std::array<linear::DeviceFormat, 13> kFormats = {
    linear::DeviceFormat::kF16,  linear::DeviceFormat::kBF16, linear::DeviceFormat::kFp8,
    linear::DeviceFormat::kInt8, linear::DeviceFormat::kInt4, linear::DeviceFormat::kInt4G32,
    linear::DeviceFormat::kQ4_1, linear::DeviceFormat::kQ5_0, linear::DeviceFormat::kQ5_1,
    linear::DeviceFormat::kQ8_0, linear::DeviceFormat::kQ4_K, linear::DeviceFormat::kQ5_K,
    linear::DeviceFormat::kQ6_K};

// The weights of a shape, several times over, with what they are multiplied by.
class Rotation {
 public:
  Rotation(const LinearShape& shape, linear::DeviceFormat format, int batch, int64_t l2_bytes,
           const linear::DeviceGemm* gemm, CUstream_st* stream) {
    for (const int64_t outputs : shape.out_features) {
      bytes_ += linear::device_weight_bytes(format, shape.in_features, outputs);
    }
    copies_ = rotation(bytes_, l2_bytes);
    weights_ = random_device_bytes(copies_ * bytes_, 2, stream);
    x_ = random_device_bytes(4 * batch * shape.in_features, 3, stream);
    norm_ = random_device_bytes(4 * shape.in_features, 4, stream);
    rounded_ = DeviceBuffer(2 * batch * shape.in_features);
    swiglu_ = DeviceBuffer(2 * batch * shape.out_features.front());
    const int64_t outputs =
        std::accumulate(shape.out_features.begin(), shape.out_features.end(), int64_t{0});
    y_ = DeviceBuffer(4 * batch * outputs);
    for (int64_t i = 0; i < copies_; ++i) {
      add_targets(shape, format, batch, weights_.data() + i * bytes_);
    }
    auto* const rounded = reinterpret_cast<bf16*>(rounded_.data());
    auto* const swiglu = reinterpret_cast<bf16*>(swiglu_.data());
    // More rows than decoding takes at once stay in f32.
    const bool normed = shape.normed && batch <= linear::kMaxDeviceDecodeRows;
    const bool rounds = !shape.normed && batch <= linear::kMaxDeviceDecodeRows;
    const auto* const norm_weight = reinterpret_cast<const float*>(norm_.data());
    params_ = {.num_rows = batch,
               .in_features = shape.in_features,
               .x = rounds ? nullptr : reinterpret_cast<const float*>(x_.data()),
               .rounded_x = rounds ? reinterpret_cast<const bf16*>(x_.data()) : nullptr,
               .x_stride = shape.in_features,
               .norm = {normed ? norm_weight : nullptr, 1e-5F, rounded},
               .targets = targets(0),
               .accumulate = shape.accumulates,
               .swiglu = shape.swiglu,
               .rounded_swiglu = normed && shape.swiglu ? swiglu : nullptr,
               .exact = false,
               .gemm = gemm,
               .workspace = nullptr};
    const int64_t workspace = linear::cuda::linear_workspace_bytes(params_);
    workspace_ = DeviceBuffer(workspace);
    fill_on_device(workspace_.data(), 0, workspace, stream);
    params_.workspace = workspace_.data();
  }

  [[nodiscard]] int64_t bytes() const { return bytes_; }
  [[nodiscard]] int64_t copies() const { return copies_; }
  void run(int64_t i, CUstream_st* stream) {
    params_.targets = targets(i);
    linear::cuda::linear(params_, stream);
  }

 private:
  void add_targets(const LinearShape& shape, linear::DeviceFormat format, int batch,
                   const std::byte* weight) {
    auto* y = reinterpret_cast<float*>(y_.data());
    for (const int64_t outputs : shape.out_features) {
      targets_.push_back({{format, shape.in_features, outputs, weight}, nullptr, y, outputs});
      weight += linear::device_weight_bytes(format, shape.in_features, outputs);
      y += batch * outputs;
    }
    num_targets_ = shape.out_features.size();
  }
  [[nodiscard]] std::span<const linear::DeviceLinearTarget> targets(int64_t i) const {
    return std::span(targets_).subspan(static_cast<size_t>(i) * num_targets_, num_targets_);
  }

  int64_t bytes_ = 0;
  int64_t copies_ = 0;
  size_t num_targets_ = 0;
  DeviceBuffer weights_, x_, norm_, rounded_, swiglu_, y_, workspace_;
  std::vector<linear::DeviceLinearTarget> targets_;
  linear::DeviceLinearParams params_{};
};

linear::DeviceFormat weight_format(std::string_view name) {
  std::string names;
  for (const linear::DeviceFormat format : kFormats) {
    if (linear::device_format_info(format).name == name) {
      return format;
    }
    names += fmt::format(" {}", linear::device_format_info(format).name);
  }
  fail(ErrorCode::kInvalidArgument, "no weights \"", name, "\"; there are", names);
}

}  // namespace

std::vector<LinearShape> linear_shapes(std::string_view model) {
  std::string names;
  for (const ModelShape& m : kModels) {
    if (m.name == model) {
      return {{"qkv", m.hidden, {m.q, m.kv, m.kv}, true, false, false},
              {"o", m.q, {m.hidden}, false, false, true},
              {"gate_up", m.hidden, {m.intermediate, m.intermediate}, true, true, false},
              {"down", m.intermediate, {m.hidden}, false, false, true},
              {"head", m.hidden, {m.vocabulary}, true, false, false}};
    }
    names += fmt::format(" {}", m.name);
  }
  fail(ErrorCode::kInvalidArgument, "no shape \"", model, "\"; there are", names);
}

LinearBench::LinearBench(int repeats)
    : timer_((require_cuda(), repeats)), l2_bytes_(query_cuda().l2_bytes) {
  gemm_ = std::make_unique<linear::DeviceGemm>();
}

LinearBench::~LinearBench() = default;

Row LinearBench::measure(const LinearShape& shape, std::string_view weights_name, int batch) {
  const linear::DeviceFormat format = weight_format(weights_name);
  Rotation weights(shape, format, batch, l2_bytes_, gemm_.get(), timer_.stream());
  const int64_t outputs =
      std::accumulate(shape.out_features.begin(), shape.out_features.end(), int64_t{0});
  Measurement m;
  m.op = "linear";
  m.batch = batch;
  m.policy = fmt::format("{} {}x{}", shape.name, outputs, shape.in_features);
  m.weights = linear::device_format_info(format).name;
  m.bytes = static_cast<double>(weights.bytes());
  m.tokens = batch;
  m.flop = 2.0 * batch * static_cast<double>(outputs * shape.in_features);
  m.us = timer_.time(weights.copies(),
                     [&](int64_t i, CUstream_st* stream) { weights.run(i, stream); });
  m.memory = timer_.rates(weights.bytes());
  return make_row(std::move(m));
}

}  // namespace lychee::bench
