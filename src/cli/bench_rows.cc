#include "cli/bench_rows.h"

#include <iostream>
#include <utility>

#include "cli/output.h"

namespace lychee::cli {

void print_rows(std::span<const bench::Row> rows, bool as_json, nlohmann::ordered_json options) {
  if (!as_json) {
    std::cout << bench::format_table(rows);
    return;
  }
  print_json({{"rows", bench::to_json(rows)}, {"options", std::move(options)}});
}

}  // namespace lychee::cli
