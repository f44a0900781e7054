#include "bench/row.h"

#include <fmt/format.h>

#include <iterator>
#include <utility>

#include "base/check.h"

namespace lychee::bench {

Row make_row(Measurement measurement) {
  require(measurement.us.median > 0 && measurement.memory.read_gb_per_s > 0,
          ErrorCode::kInvalidArgument, "a row needs a time and a read rate above 0, got ",
          measurement.us.median, " us and ", measurement.memory.read_gb_per_s, " GB/s");
  Row row{std::move(measurement)};
  row.gb_per_s = row.bytes / row.us.median * 1e-3;
  row.floor_us = row.bytes / row.memory.read_gb_per_s * 1e-3;
  row.time_over_floor = row.floor_us > 0 ? row.us.median / row.floor_us : 0;
  row.tokens_per_s = static_cast<double>(row.tokens) / row.us.median * 1e6;
  row.gflop_per_s = row.flop / row.us.median * 1e-3;
  return row;
}

nlohmann::ordered_json to_json(const Row& row) {
  nlohmann::ordered_json json = {{"op", row.op},
                                 {"context", row.context},
                                 {"batch", row.batch},
                                 {"policy", row.policy},
                                 {"weights", row.weights},
                                 {"kv_dtype", row.kv_dtype},
                                 {"bytes", static_cast<int64_t>(row.bytes)},
                                 {"us_median", row.us.median},
                                 {"us_p10", row.us.p10},
                                 {"us_p90", row.us.p90},
                                 {"gb_per_s", row.gb_per_s},
                                 {"read_gb_per_s", row.memory.read_gb_per_s},
                                 {"copy_gb_per_s", row.memory.copy_gb_per_s},
                                 {"floor_us", row.floor_us},
                                 {"time_over_floor", row.time_over_floor},
                                 {"tokens_per_s", row.tokens_per_s},
                                 {"kv_read", row.kv_read}};
  if (row.flop > 0) {
    json["gflop_per_s"] = row.gflop_per_s;
  }
  if (row.num_retrieval) {
    json["retrieval_heads"] = *row.num_retrieval;
  }
  if (row.num_layers > 0) {
    json["layers"] = row.num_layers;
  }
  if (row.num_selected > 0) {
    json["selected"] = row.num_selected;
  }
  return json;
}

nlohmann::ordered_json to_json(std::span<const Row> rows) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const Row& row : rows) {
    json.push_back(to_json(row));
  }
  return json;
}

namespace {

// Tokens/s over those of the dense row beside it; empty without one.
std::string ratio_to_dense(const Row& row, std::span<const Row> rows) {
  for (const Row& other : rows) {
    const bool same =
        other.op == row.op && other.context == row.context && other.batch == row.batch;
    if (same && other.policy == "dense" && row.policy != "dense") {
      return fmt::format("{:.2f}", row.tokens_per_s / other.tokens_per_s);
    }
  }
  return "";
}

}  // namespace

std::string format_table(std::span<const Row> rows) {
  std::string text = fmt::format(
      "{:<10}{:>8}{:>6} {:<13}{:>10}{:>9}{:>11}{:>11}{:>11}{:>8}{:>8}{:>10}{:>8}{:>9}{:>8}\n", "op",
      "context", "batch", "policy", "tokens/s", "MB", "us median", "p10", "p90", "GB/s", "read",
      "floor us", "x floor", "KV read", "x dense");
  for (const Row& row : rows) {
    fmt::format_to(std::back_inserter(text),
                   "{:<10}{:>8}{:>6} {:<13}{:>10.1f}{:>9.1f}{:>11.0f}{:>11.0f}{:>11.0f}{:>8.1f}"
                   "{:>8.1f}{:>10.0f}{:>8.2f}{:>9.3f}{:>8}\n",
                   row.op, row.context, row.batch, row.policy, row.tokens_per_s, row.bytes * 1e-6,
                   row.us.median, row.us.p10, row.us.p90, row.gb_per_s, row.memory.read_gb_per_s,
                   row.floor_us, row.time_over_floor, row.kv_read, ratio_to_dense(row, rows));
    if (row.flop > 0) {
      fmt::format_to(std::back_inserter(text), "{:>24} {:.1f} GFLOP/s\n", "", row.gflop_per_s);
    }
    if (row.num_retrieval) {
      fmt::format_to(std::back_inserter(text), "{:>24} {} retrieval heads", "", *row.num_retrieval);
      text += row.num_layers > 0 ? fmt::format(", layers like this: {}", row.num_layers) : "";
      text += row.num_selected > 0 ? fmt::format(", ids selected: {:.1f}", row.num_selected) : "";
      text += "\n";
    }
  }
  return text;
}

}  // namespace lychee::bench
