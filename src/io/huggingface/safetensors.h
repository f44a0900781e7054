#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tensor/tensor_view.h"

namespace lychee::io {

using TensorMap = std::map<std::string, TensorView, std::less<>>;

// Views of all tensors in the bytes of a safetensors file, which must outlive them. Offsets, sizes
// and contiguity are checked as the format demands; data may be unaligned. `file_name` is for
// messages. Throws Error(kInvalidArgument) for what is malformed, Error(kUnsupported) for a dtype
// other than F32, F16 and BF16, naming it.
[[nodiscard]] TensorMap parse_safetensors(std::span<const std::byte> file,
                                          const std::string& file_name);

struct SafetensorsFolder {
  TensorMap tensors;
  std::vector<std::shared_ptr<const void>> storage;  // the mapped files behind the tensors
};

// The weights of a model folder: model.safetensors, or the shards that model.safetensors.index.json
// names. Throws Error(kInvalidArgument) when there are none or they contradict the index.
[[nodiscard]] SafetensorsFolder open_safetensors_folder(const std::filesystem::path& folder);

}  // namespace lychee::io
