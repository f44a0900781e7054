#include "engine/load_plan.h"

#include <algorithm>
#include <array>
#include <limits>

#include "base/check.h"
#include "base/math.h"
#include "model/weights.h"

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
constexpr int64_t kReserve = 512 << 20;  // the system, the driver

DType choose_kv_dtype(KvDtype wanted, DType weights) {
  switch (wanted) {
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

// MiB, so that a message's numbers can be compared at a glance.
int64_t mib(int64_t bytes) {
  return bytes >> 20;
}

}  // namespace

void check_options(const EngineOptions& options) {
  require(options.device != Device::kCuda, ErrorCode::kUnsupported,
          "device cuda: this build has no CUDA support");
  require(options.prefill_chunk >= 1, ErrorCode::kInvalidArgument, "prefill chunk ",
          options.prefill_chunk, " must be at least 1");
  require(options.threads >= 0 && options.threads <= kMaxThreads, ErrorCode::kInvalidArgument,
          "threads ", options.threads, " must be between 0 (all cores) and ", kMaxThreads);
  require(options.max_cache_tokens >= 0 && options.max_cache_tokens <= kMaxCacheTokens,
          ErrorCode::kInvalidArgument, "a KV cache of ", options.max_cache_tokens,
          " tokens must be between 0 (what memory allows) and ", kMaxCacheTokens);
}

std::optional<DType> weight_dtype(WeightFormat format) {
  switch (format) {
    case WeightFormat::kFP8:
      fail(ErrorCode::kUnsupported,
           "weights fp8 need the CUDA backend, which this build lacks; use bf16, int8 or int4");
    case WeightFormat::kBF16:
      return DType::kBF16;
    case WeightFormat::kInt8:
      return DType::kQ8_0;
    case WeightFormat::kInt4:
      return DType::kQ4_0;
    case WeightFormat::kFile:
      break;
  }
  return std::nullopt;
}

LoadPlan plan_loading(const EngineOptions& options, const io::ModelConfig& config,
                      int64_t file_weight_bytes, int64_t workspace_bytes, int64_t available_bytes) {
  LoadPlan plan;
  plan.weights = weight_dtype(options.weights);
  plan.kv = {config.num_layers, config.num_kv_heads, config.head_dim,
             choose_kv_dtype(options.kv_dtype, config.dtype)};
  MemoryPlan& memory = plan.memory;
  memory.weight_bytes =
      plan.weights ? model::weight_bytes(config, *plan.weights) : file_weight_bytes;
  memory.workspace_bytes = workspace_bytes;
  memory.cache_bytes_per_token = plan.kv.bytes_per_token();
  memory.available_bytes = available_bytes;
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
          " bytes. Try --weights int8 or int4, or a smaller model");
  require(wanted <= fitting, ErrorCode::kOutOfMemory, "a KV cache of ", wanted, " tokens takes ",
          mib(wanted * memory.cache_bytes_per_token), " MiB, and ", mib(left),
          " MiB are left beside the weights (", mib(memory.weight_bytes), " MiB), the workspace (",
          mib(workspace_bytes), " MiB) and the system's ", mib(kReserve), " MiB of ",
          mib(available_bytes), " MiB: at most ", fitting, " tokens fit");
  memory.cache_tokens = wanted > 0 ? wanted : fitting;
  return plan;
}

}  // namespace engine
}  // namespace lychee
