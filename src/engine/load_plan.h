#pragma once

#include <cstdint>
#include <optional>

#include "io/model_files.h"
#include "lychee/engine.h"
#include "model/kv_cache.h"

namespace lychee::engine {

// What an engine is about to load, worked out before it does.
struct LoadPlan {
  std::optional<DType> weights;  // that matrices are rounded to; nullopt: the file's
  model::KvCacheShape kv;
  MemoryPlan memory;

  [[nodiscard]] int64_t num_pages() const { return memory.cache_tokens / attention::kPageSize; }
};

// Throws Error(kInvalidArgument) for options that no model could be loaded with.
void check_options(const EngineOptions& options);

[[nodiscard]] std::optional<DType> weight_dtype(WeightFormat format);

// `workspace_bytes`, `available_bytes`: of the device that will decode. Throws Error(kOutOfMemory)
// with the numbers, and the most tokens that would fit, when it cannot hold the weights and what
// cache the options ask for.
[[nodiscard]] LoadPlan plan_loading(const EngineOptions& options, const io::ModelConfig& config,
                                    int64_t file_weight_bytes, int64_t workspace_bytes,
                                    int64_t available_bytes);

}  // namespace lychee::engine
