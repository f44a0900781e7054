#pragma once

#include <CLI/CLI.hpp>

namespace lychee::cli {

// `bench linear`.
void add_bench_linear(CLI::App& bench);

}  // namespace lychee::cli
