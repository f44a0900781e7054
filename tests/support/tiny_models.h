#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "io/model_files.h"

namespace lychee::test {

// The shape of a random model that a test makes for itself.
struct TinyModel {
  const char* name;
  io::Architecture architecture;
  int num_layers;
  int num_q_heads;
  int num_kv_heads;
  int head_dim;
  int hidden_size;
  const char* rope = "";  // JSON of rope_scaling; empty: none
  int64_t context = 2048;
  int vocab_size = 61;
  uint32_t seed = 1;
};

// One of every architecture, of group sizes 1 to 5, of 3 to 6 layers.
[[nodiscard]] std::span<const TinyModel> tiny_models();
[[nodiscard]] const TinyModel& tiny_model(const std::string& name);

// Writes config.json and model.safetensors (F32) to a folder of its own below the temporary one and
// returns it. Weights are scaled so that attention is peaked and logits are far from flat: errors
// must show.
[[nodiscard]] std::filesystem::path write_tiny_model(const TinyModel& model);

[[nodiscard]] std::vector<int32_t> random_tokens(const TinyModel& model, int64_t count,
                                                 uint32_t seed);

}  // namespace lychee::test
