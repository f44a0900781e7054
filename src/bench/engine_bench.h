#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "bench/memory_rates.h"
#include "bench/row.h"
#include "lychee/engine.h"

namespace lychee::bench {

// Measures decode steps and prefills through the Engine that users run, over caches filled with
// noise instead of a prompt's K and V.
class EngineBench {
 public:
  // `engine` must outlive it. repeats: measured steps or prefills of a row, at least 1.
  EngineBench(Engine& engine, uint64_t seed, int repeats);

  // What the cache must hold to measure `batch` sequences of `context` tokens under `policy`.
  [[nodiscard]] static int64_t cache_tokens(int64_t context, int batch, Policy policy);

  // Steps over a kv_len of max(context, 1), the fed token included, each with the draw of the next
  // token; every sequence of the batch has pages of its own. One row per policy, measured over the
  // same caches one after the other. Throws Error(kInvalidArgument) beyond the model's context or
  // for options that correct the cache, Error(kOutOfMemory) beyond the memory.
  [[nodiscard]] std::vector<Row> decode(int64_t context, int batch,
                                        std::span<const GenerationOptions> policies);
  // Prefills of `context` random tokens into an empty cache. The bytes are those of the weights,
  // once.
  [[nodiscard]] Row prefill(int64_t context);

  struct Crossover {
    int64_t dense_up_to = 0;  // longest kv_len at which dense decoding is at least as fast
    bool found = false;       // false: `policy` was not faster at any length that fits
    std::vector<Row> rows;    // all that was measured, in order
  };
  // The kv_len from which `policy` decodes faster than dense, among those above its budget (at and
  // below it both read the same): powers of two first, then halves of the gap.
  [[nodiscard]] Crossover crossover(GenerationOptions policy);

 private:
  [[nodiscard]] std::vector<Sequence> noise(int64_t context, int batch);
  [[nodiscard]] Row decode_row(std::span<const Sequence> past, const GenerationOptions& options);
  [[nodiscard]] bool faster_than_dense(int64_t kv_len, const GenerationOptions& policy,
                                       Crossover& crossover);

  // Of the memory that the engine decodes from.
  [[nodiscard]] MemoryRates rates(int64_t bytes);

  Engine& engine_;
  uint64_t seed_;
  int repeats_;
  MemoryRuler ruler_;
  std::optional<MemoryRates> gpu_rates_;
};

}  // namespace lychee::bench
