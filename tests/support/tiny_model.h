#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "io/model_files.h"
#include "support/model_writer.h"

namespace lychee::test {

// A decoder of a few thousand weights: 3 layers, 4 query heads over 2 KV heads of 16 dimensions,
// hidden 64, feed-forward 96, vocabulary 96, context 256. Change what a test is about.
[[nodiscard]] io::ModelConfig tiny_config(io::Architecture architecture = io::Architecture::kLlama);

// Seeded random weights of every tensor that `config` needs, with Hugging Face's names and layout.
// Matrices have `dtype`, vectors are F32.
[[nodiscard]] std::vector<WriterTensor> tiny_weights(const io::ModelConfig& config,
                                                     DType dtype = DType::kF32,
                                                     uint32_t seed = 0x5eed);

// The same model three ways: in memory, as a folder, as a GGUF file (names and Llama's q and k row
// order as GGUF has them). The folder cannot hold quantised dtypes; none carries a tokenizer.
[[nodiscard]] io::ModelFiles tiny_model_files(const io::ModelConfig& config,
                                              const std::vector<WriterTensor>& weights);
void write_hf_folder(const std::filesystem::path& folder, const io::ModelConfig& config,
                     const std::vector<WriterTensor>& weights);
void write_gguf_file(const std::filesystem::path& path, const io::ModelConfig& config,
                     const std::vector<WriterTensor>& weights);

// Text of config.json, and the metadata of a GGUF file, for `config`.
[[nodiscard]] std::string hf_config_text(const io::ModelConfig& config);
[[nodiscard]] GgufWriter gguf_header(const io::ModelConfig& config);

}  // namespace lychee::test
