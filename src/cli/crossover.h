#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "lychee/engine.h"

namespace lychee::cli {

// Lengths up to which dense decoding is faster, as `bench crossover` measured them; kept per device
// and model in crossover.json of the cache folder (interfaces.md, section 3).
[[nodiscard]] std::optional<int64_t> stored_crossover(const ModelInfo& model);
// Adds or replaces the entry; the file is replaced in one rename.
void store_crossover(const ModelInfo& model, int64_t kv_len);

}  // namespace lychee::cli
