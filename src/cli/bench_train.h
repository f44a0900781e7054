#pragma once

#include <CLI/CLI.hpp>

namespace lychee::cli {

// `bench train`.
void add_bench_train(CLI::App& bench);

}  // namespace lychee::cli
