#pragma once

#include <nlohmann/json.hpp>
#include <span>

#include "bench/row.h"

namespace lychee::cli {

// The rows of a bench of kernels on stdout: a table, or one JSON object with `rows` and `options`.
void print_rows(std::span<const bench::Row> rows, bool as_json, nlohmann::ordered_json options);

}  // namespace lychee::cli
