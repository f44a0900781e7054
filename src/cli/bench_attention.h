#pragma once

#include <CLI/CLI.hpp>

namespace lychee::cli {

// `bench attention` and `bench select`.
void add_bench_attention(CLI::App& bench);
void add_bench_select(CLI::App& bench);

}  // namespace lychee::cli
