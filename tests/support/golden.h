#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace lychee::test {

// What Hugging Face transformers computes for a model of tests/data/models (tools/golden.py):
// natural logarithms of probabilities, in float32.
struct Golden {
  std::vector<int32_t> tokens;
  std::vector<double> next_prefill;       // of token i + 1 after tokens 0 … i, one pass over all
  std::vector<int64_t> row_positions;     // positions whose whole distribution `rows` has
  std::vector<std::vector<double>> rows;  // [row_positions, vocab]
  int64_t decode_from = 0;                // tokens before it in one pass, the rest one by one
  std::vector<double> next_decode;        // of token decode_from + i + 1
  std::vector<double> last_decode_row;    // [vocab], after the last token
};

[[nodiscard]] std::filesystem::path golden_model(const char* name);
[[nodiscard]] Golden read_golden(const std::filesystem::path& folder);

}  // namespace lychee::test
