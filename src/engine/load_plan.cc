#include "engine/load_plan.h"

#include <algorithm>
#include <array>
#include <limits>

#include "base/check.h"
#include "base/math.h"

namespace lychee {

namespace {

constexpr std::array<std::string_view, 5> kWeightFormats = {"file", "bf16", "fp8", "int8", "int4"};

}  // namespace

std::string_view weight_format_name(WeightFormat format) {
  return kWeightFormats[static_cast<size_t>(format)];
}

std::optional<WeightFormat> parse_weight_format(std::string_view name) {
  const auto* it = std::find(kWeightFormats.begin(), kWeightFormats.end(), name);
  return it == kWeightFormats.end()
             ? std::nullopt
             : std::optional(static_cast<WeightFormat>(it - kWeightFormats.begin()));
}

namespace engine {

using attention::kPageSize;

namespace {

// Positions and page ids are 32-bit numbers.
constexpr int64_t kMaxCacheTokens = std::numeric_limits<int32_t>::max();
// Beyond what machines have; libgomp crashes when the system refuses it a thread.
constexpr int kMaxThreads = 1024;
constexpr int kMaxSequences = 1 << 20;
constexpr int64_t kReserve = 512 << 20;  // the system, the driver

DType choose_kv_dtype(KvDtype wanted, DType weights, bool cuda) {
  switch (wanted) {
    case KvDtype::kFP8:
      require(cuda, ErrorCode::kUnsupported,
              "a KV cache in fp8 needs the CUDA backend; use f16, bf16 or f32 on the CPU");
      return DType::kF8E4M3;
    case KvDtype::kF32:
      return DType::kF32;
    case KvDtype::kF16:
      return DType::kF16;
    case KvDtype::kBF16:
      return DType::kBF16;
    case KvDtype::kAuto:
      break;
  }
  return weights == DType::kF32 || weights == DType::kBF16 ? weights : DType::kF16;
}

// That options.max_sequences of the model's context can fill.
int64_t useful_tokens(const EngineOptions& options, const io::ModelConfig& config) {
  if (options.max_sequences == 0) {
    return kMaxCacheTokens;
  }
  const int64_t context = std::min(config.context_length, kMaxCacheTokens);
  return model::sequence_pages(context, true) * kPageSize * options.max_sequences;
}

// MiB, so that a message's numbers can be compared at a glance.
int64_t mib(int64_t bytes) {
  return bytes >> 20;
}

}  // namespace

void check_options(const EngineOptions& options) {
  require(options.prefill_chunk >= 0, ErrorCode::kInvalidArgument, "prefill chunk ",
          options.prefill_chunk, " must be at least 1, or 0 for the device's");
  require(options.threads >= 0 && options.threads <= kMaxThreads, ErrorCode::kInvalidArgument,
          "threads ", options.threads, " must be between 0 (all cores) and ", kMaxThreads);
  require(options.max_cache_tokens >= 0 && options.max_cache_tokens <= kMaxCacheTokens,
          ErrorCode::kInvalidArgument, "a KV cache of ", options.max_cache_tokens,
          " tokens must be between 0 (what memory allows) and ", kMaxCacheTokens);
  require(options.max_sequences >= 0 && options.max_sequences <= kMaxSequences,
          ErrorCode::kInvalidArgument, options.max_sequences,
          " sequences must be between 0 (any number) and ", kMaxSequences);
}

std::optional<CudaDevice> choose_gpu(const EngineOptions& options) {
  if (options.device == Device::kCpu) {
    return std::nullopt;
  }
  CudaDevice gpu = query_cuda();
  if (gpu.available) {
    return gpu;
  }
  require(options.device == Device::kAuto, ErrorCode::kUnsupported, "device cuda: ", gpu.missing);
  return std::nullopt;
}

std::optional<DType> cpu_weights(WeightFormat format) {
  switch (format) {
    case WeightFormat::kFile:
      break;
    case WeightFormat::kBF16:
      return DType::kBF16;
    case WeightFormat::kFP8:
      fail(ErrorCode::kUnsupported,
           "weights in fp8 need the CUDA backend; use bf16, int8 or int4 on the CPU");
    case WeightFormat::kInt8:
      return DType::kQ8_0;
    case WeightFormat::kInt4:
      return DType::kQ4_0;
  }
  return std::nullopt;
}

std::optional<linear::DeviceFormat> cuda_weights(WeightFormat format) {
  switch (format) {
    case WeightFormat::kFile:
      break;
    case WeightFormat::kBF16:
      return linear::DeviceFormat::kBF16;
    case WeightFormat::kFP8:
      return linear::DeviceFormat::kFp8;
    case WeightFormat::kInt8:
      return linear::DeviceFormat::kInt8;
    case WeightFormat::kInt4:
      return linear::DeviceFormat::kInt4;
  }
  return std::nullopt;
}

LoadPlan plan_loading(const EngineOptions& options, const io::ModelConfig& config,
                      const Demands& demands) {
  LoadPlan plan;
  plan.kv = {config.num_layers, config.num_kv_heads, config.head_dim,
             choose_kv_dtype(options.kv_dtype, config.dtype, demands.cuda)};
  MemoryPlan& memory = plan.memory;
  memory.weight_bytes = demands.weight_bytes;
  memory.workspace_bytes = demands.workspace_bytes;
  memory.cache_bytes_per_token = plan.kv.bytes_per_token();
  memory.available_bytes = demands.available_bytes;
  const int64_t available_bytes = demands.available_bytes;
  const int64_t workspace_bytes = demands.workspace_bytes;
  const int64_t wanted = round_up(options.max_cache_tokens, int64_t{kPageSize});
  if (available_bytes == 0 && wanted > 0) {
    memory.cache_tokens = wanted;
    return plan;
  }
  const int64_t left = available_bytes - kReserve - memory.weight_bytes - workspace_bytes;
  const int64_t pages = std::max<int64_t>(left, 0) / plan.kv.bytes_per_page();
  const int64_t fitting = std::min(pages * kPageSize, kMaxCacheTokens / kPageSize * kPageSize);
  require(fitting > 0, ErrorCode::kOutOfMemory, "the model does not fit: its weights take ",
          mib(memory.weight_bytes), " MiB and the workspace ", mib(workspace_bytes), " MiB, of ",
          mib(available_bytes), " MiB that are free, of which ", mib(kReserve),
          " MiB stay with the system; a token of KV cache takes ", memory.cache_bytes_per_token,
          " bytes. Try --weights int8 or int4, or a smaller model",
          demands.cuda ? ", or --device cpu; another program of this kind leaves memory free if "
                         "it is given --max-cache-tokens"
                       : "");
  require(wanted <= fitting, ErrorCode::kOutOfMemory, "a KV cache of ", wanted, " tokens takes ",
          mib(wanted * memory.cache_bytes_per_token), " MiB, and ", mib(left),
          " MiB are left beside the weights (", mib(memory.weight_bytes), " MiB), the workspace (",
          mib(workspace_bytes), " MiB) and the system's ", mib(kReserve), " MiB of ",
          mib(available_bytes), " MiB: at most ", fitting, " tokens fit");
  memory.cache_tokens = wanted > 0 ? wanted : std::min(fitting, useful_tokens(options, config));
  return plan;
}

}  // namespace engine
}  // namespace lychee
