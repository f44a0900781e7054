#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>

#include "bench/memory_rates.h"
#include "bench/statistics.h"

namespace lychee::bench {

// What one measurement found. Times are those of one repetition: a decode step of the whole batch,
// or a whole prefill.
struct Measurement {
  std::string op;  // decode, prefill, crossover, attention, select, linear
  int64_t context = 0;
  int batch = 1;
  std::string policy;
  std::string weights;   // "file", or what they were rounded to
  std::string kv_dtype;  // of the cache
  double bytes = 0;      // that a repetition must read
  int64_t tokens = 0;    // that a repetition decodes or prefills
  double kv_read = 1;    // share of dense's KV bytes
  double flop = 0;       // of a repetition; 0: not stated
  // Of a kernel that does one layer's work: KV heads in it that read everything, layers of the
  // model like it (0: not stated), and the mean of the tokens selected for a set (0: none were).
  std::optional<int> num_retrieval;
  int num_layers = 0;
  double num_selected = 0;
  Spread us;
  MemoryRates memory;
};

// The measurement held against its floor, the time to read its bytes at the plain loop's rate
// (interfaces.md, section 2: the fields of `rows`).
struct Row : Measurement {
  double gb_per_s = 0;  // bytes over the median
  double floor_us = 0;
  double time_over_floor = 0;
  double tokens_per_s = 0;
  double gflop_per_s = 0;
};
// Throws Error(kInvalidArgument) when a time or the read rate is not above zero.
[[nodiscard]] Row make_row(Measurement measurement);

[[nodiscard]] nlohmann::ordered_json to_json(const Row& row);
[[nodiscard]] nlohmann::ordered_json to_json(std::span<const Row> rows);
// Lines of equal columns with a heading, for people. The last column is the rate relative to the
// dense row of the same operation, context and batch, where there is one.
[[nodiscard]] std::string format_table(std::span<const Row> rows);

}  // namespace lychee::bench
