#include "training/cuda_backend.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/math.h"
#include "kernels/linear/gemm_linear.h"
#include "tensor/device.h"
#include "training/host_backend.h"

namespace lychee::training {
namespace {

constexpr int64_t kStagingBytes = int64_t{8} << 20;
constexpr int64_t kStagingAlignment = 16;

std::optional<linear::DeviceFormat> format_of(CudaPrecision precision) {
  return precision == CudaPrecision::kBF16 ? std::optional(linear::DeviceFormat::kBF16)
                                           : std::nullopt;
}

DType dtype_of(CudaPrecision precision) {
  return precision == CudaPrecision::kBF16 ? DType::kBF16 : DType::kF32;
}

FrozenLinear view(const model::CudaLinear& linear, DType dtype) {
  return {.dtype = dtype,
          .weight = linear.weight.data,
          .bias = linear.bias,
          .out_features = linear.weight.out_features,
          .in_features = linear.weight.in_features};
}

FrozenWeights view_on_device(const model::CudaWeights& weights, DType dtype) {
  FrozenWeights views;
  for (const model::CudaLayer& layer : weights.layers()) {
    views.layers.push_back({.attention_norm = layer.attention_norm,
                            .q = view(layer.q, dtype),
                            .k = view(layer.k, dtype),
                            .v = view(layer.v, dtype),
                            .q_norm = layer.q_norm,
                            .k_norm = layer.k_norm,
                            .o = view(layer.o, dtype),
                            .mlp_norm = layer.mlp_norm,
                            .gate = view(layer.gate, dtype),
                            .up = view(layer.up, dtype),
                            .down = view(layer.down, dtype)});
  }
  views.final_norm = weights.final_norm();
  views.lm_head = view(weights.lm_head(), dtype);
  return views;
}

// The host's weights with the type that they will have on the device.
FrozenWeights shapes_of(const model::ModelWeights& weights, DType dtype) {
  FrozenWeights views = view_weights(weights);
  for (FrozenLayer& layer : views.layers) {
    for (FrozenLinear* linear :
         {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down}) {
      linear->dtype = dtype;
    }
  }
  views.lm_head.dtype = dtype;
  return views;
}

void check_exact(const FrozenWeights& weights) {
  const auto check = [](const FrozenLinear& linear) {
    require(linear.dtype == DType::kF32, ErrorCode::kUnsupported,
            "exact training on a GPU needs weights in f32, not ", dtype_info(linear.dtype).name);
  };
  for (const FrozenLayer& layer : weights.layers) {
    for (const FrozenLinear* linear :
         {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down}) {
      check(*linear);
    }
  }
  check(weights.lm_head);
}

}  // namespace

CudaBackend::Device::Device(const model::ModelWeights& host, CudaPrecision precision)
    : staging(kStagingBytes), weights(host, format_of(precision), stream) {}

CudaBackend::CudaBackend(const model::ModelWeights& weights, CudaPrecision precision)
    : precision_(precision) {
  require_cuda();
  if (precision == CudaPrecision::kExact) {
    check_exact(training::view_weights(weights));
  }
  device_ = std::make_unique<Device>(weights, precision);
  weights_ = view_on_device(device_->weights, dtype_of(precision));
  device_bytes_ = model::CudaWeights::bytes(weights, format_of(precision));
}

CudaBackend::CudaBackend(const model::ModelWeights& weights, CudaPrecision precision,
                         CountOnly /*tag*/)
    : precision_(precision),
      weights_(shapes_of(weights, dtype_of(precision))),
      device_bytes_(model::CudaWeights::bytes(weights, format_of(precision))) {}

int64_t CudaBackend::demand(const io::ModelConfig& config, const model::ModelWeights& weights,
                            CudaPrecision precision, const DistillationOptions& options) {
  CudaBackend counter(weights, precision, CountOnly{});
  const Distillation<float> counted(config, counter, options);
  return counter.device_bytes();
}

void* CudaBackend::allocate(Memory& memory, int64_t bytes) {
  // The driver deals in pieces of this size.
  constexpr int64_t kPiece = 512;
  device_bytes_ += round_up(bytes, kPiece);
  return device_ == nullptr ? nullptr : memory.emplace<DeviceBuffer>(bytes).data();
}

void CudaBackend::wait() {
  device_->stream.synchronize();
  device_->staged = 0;
}

void CudaBackend::send_bytes(void* to, const void* host, int64_t bytes) {
  Device& device = *device_;
  for (int64_t done = 0; done < bytes;) {
    if (device.staged == kStagingBytes) {
      wait();
    }
    const int64_t piece = std::min(bytes - done, kStagingBytes - device.staged);
    std::byte* staged = device.staging.data() + device.staged;
    std::memcpy(staged, static_cast<const std::byte*>(host) + done, static_cast<size_t>(piece));
    copy_to_device(static_cast<std::byte*>(to) + done, staged, piece, stream());
    device.staged = std::min(round_up(device.staged + piece, kStagingAlignment), kStagingBytes);
    done += piece;
  }
}

void CudaBackend::fetch_bytes(void* host, const void* from, int64_t bytes) {
  copy_to_host(host, from, bytes, stream());
  wait();
}

void CudaBackend::copy(float* to, const float* from, int64_t count) {
  copy_on_device(to, from, count * static_cast<int64_t>(sizeof(float)), stream());
}

void CudaBackend::zero(float* to, int64_t count) {
  fill_on_device(to, 0, count * static_cast<int64_t>(sizeof(float)), stream());
}

void CudaBackend::embed(const int32_t* token_ids, int64_t num_rows, float* x) {
  const linear::DeviceWeight& embedding = device_->weights.embedding();
  linear::cuda::embedding({num_rows, token_ids, embedding, x, embedding.in_features}, stream());
}

void CudaBackend::gather(const rows::PickParams<float>& p) {
  rows::cuda::gather(p, stream());
}
void CudaBackend::scatter(const rows::PickParams<float>& p) {
  rows::cuda::scatter(p, stream());
}
void CudaBackend::append(const rows::AppendParams<float>& p) {
  rows::cuda::append(p, stream());
}

void CudaBackend::rms_norm(const norm::RmsNormParams& p) {
  norm::cuda::rms_norm(p, stream());
}
void CudaBackend::rms_norm_backward(const norm::RmsNormBackwardParams<float>& p) {
  norm::cuda::rms_norm_backward(p, stream());
}
void CudaBackend::apply_rope_table(const rope::RopeApplyParams& p) {
  rope::cuda::apply_rope_table(p, stream());
}
void CudaBackend::silu_mul(const activation::SiluMulParams& p) {
  activation::cuda::silu_mul(p, stream());
}
void CudaBackend::silu_mul_backward(const activation::SiluMulBackwardParams<float>& p) {
  activation::cuda::silu_mul_backward(p, stream());
}

int64_t CudaBackend::workspace_bytes(const linear::LinearParams& p) {
  return linear::cuda::gemm_linear_workspace_bytes(p);
}
void CudaBackend::linear(const linear::LinearParams& p) {
  linear::cuda::gemm_linear(p, device_->gemm, stream());
}
int64_t CudaBackend::workspace_bytes(const linear::LinearBackwardParams<float>& p) {
  return linear::cuda::gemm_linear_backward_workspace_bytes(p);
}
void CudaBackend::linear_backward(const linear::LinearBackwardParams<float>& p) {
  linear::cuda::gemm_linear_backward(p, device_->gemm, stream());
}

int64_t CudaBackend::workspace_bytes(const attention::BlendedAttentionParams<float>& params) {
  attention::BlendedAttentionParams<float> p = params;
  p.exact = precision_ == CudaPrecision::kExact;
  return attention::cuda::blended_attention_workspace_bytes(p);
}
void CudaBackend::attention(const attention::BlendedAttentionParams<float>& params) {
  attention::BlendedAttentionParams<float> p = params;
  p.exact = precision_ == CudaPrecision::kExact;
  attention::cuda::blended_attention(p, stream());
}
int64_t CudaBackend::workspace_bytes(
    const attention::BlendedAttentionBackwardParams<float>& params) {
  attention::BlendedAttentionBackwardParams<float> p = params;
  p.forward.exact = precision_ == CudaPrecision::kExact;
  return attention::cuda::blended_attention_backward_workspace_bytes(p);
}
void CudaBackend::attention_backward(
    const attention::BlendedAttentionBackwardParams<float>& params) {
  attention::BlendedAttentionBackwardParams<float> p = params;
  p.forward.exact = precision_ == CudaPrecision::kExact;
  attention::cuda::blended_attention_backward(p, stream());
}

int64_t CudaBackend::workspace_bytes(const attention::SelectTokensParams& p) {
  return attention::cuda::select_tokens_workspace_bytes(p);
}
void CudaBackend::select_tokens(const attention::SelectTokensParams& p) {
  attention::cuda::select_tokens(p, stream());
}

void CudaBackend::kl_divergence(const loss::LogitLossParams<float>& p) {
  loss::cuda::kl_divergence(p, stream());
}
void CudaBackend::mean_square(const loss::LogitLossParams<float>& p) {
  loss::cuda::mean_square(p, stream());
}
void CudaBackend::hidden_mean_square(const loss::LogitLossParams<float>& p) {
  loss::cuda::mean_square(p, stream());
}

}  // namespace lychee::training
