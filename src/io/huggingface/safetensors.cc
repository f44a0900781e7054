#include "io/huggingface/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/math.h"
#include "io/json_file.h"

namespace lychee::io {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit

struct Extent {
  uint64_t begin;  // from the start of the data
  uint64_t end;
  std::string_view name;
};

std::optional<DType> find_dtype(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, DType>, 3> kSupported = {
      {{"F32", DType::kF32}, {"F16", DType::kF16}, {"BF16", DType::kBF16}}};
  for (const auto& [known, dtype] : kSupported) {
    if (known == name) {
      return dtype;
    }
  }
  return std::nullopt;
}

std::string_view read_header(std::span<const std::byte> file, const std::string& file_name) {
  uint64_t length = 0;
  require(file.size() >= sizeof(length), ErrorCode::kInvalidArgument, file_name, ": ", file.size(),
          " bytes are too few for a safetensors file; is the download complete?");
  std::memcpy(&length, file.data(), sizeof(length));
  require(length <= kMaxHeaderBytes, ErrorCode::kInvalidArgument, file_name, ": header of ", length,
          " bytes is over the limit of ", kMaxHeaderBytes, "; not a safetensors file");
  require(length <= file.size() - sizeof(length), ErrorCode::kInvalidArgument, file_name,
          ": truncated: a header of ", length, " bytes in a file of ", file.size());
  const std::string_view header(reinterpret_cast<const char*>(file.data()) + sizeof(length),
                                length);
  require(header.starts_with('{'), ErrorCode::kInvalidArgument, file_name,
          ": the header does not begin with {; not a safetensors file");
  return header;
}

void check_metadata(const json& metadata, const std::string& file_name) {
  const bool strings =
      metadata.is_object() && std::all_of(metadata.begin(), metadata.end(),
                                          [](const json& value) { return value.is_string(); });
  require(strings, ErrorCode::kInvalidArgument, file_name,
          ": __metadata__ does not map strings to strings");
}

// An array of non-negative integers below 2^63.
std::vector<int64_t> read_sizes(const JsonObject& entry, std::string_view key) {
  const json* array = entry.find(key);
  require(array != nullptr && array->is_array(), ErrorCode::kInvalidArgument, entry.file_name(),
          ": ", key, " is not an array");
  std::vector<int64_t> sizes;
  sizes.reserve(array->size());
  for (const json& value : *array) {
    require(value.is_number_unsigned() &&
                value.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()),
            ErrorCode::kInvalidArgument, entry.file_name(), ": ", key,
            " holds something else than integers from 0 to 2^63 - 1");
    sizes.push_back(value.get<int64_t>());
  }
  return sizes;
}

TensorView read_tensor(const JsonObject& entry, std::span<const std::byte> data, Extent& extent) {
  const std::string dtype_name = entry.required_string("dtype");
  const std::optional<DType> dtype = find_dtype(dtype_name);
  require(dtype.has_value(), ErrorCode::kUnsupported, entry.file_name(), " has dtype ", dtype_name,
          "; supported are F32, F16 and BF16");
  TensorView view{*dtype, read_sizes(entry, "shape"), nullptr};
  int64_t bytes = dtype_info(*dtype).block_bytes;
  const bool counted = std::ranges::all_of(
      view.shape, [&](int64_t size) { return checked_mul(bytes, size, bytes); });
  require(counted, ErrorCode::kInvalidArgument, entry.file_name(),
          ": the shape's product is not below 2^63");
  const std::vector<int64_t> offsets = read_sizes(entry, "data_offsets");
  require(offsets.size() == 2 && offsets[0] <= offsets[1], ErrorCode::kInvalidArgument,
          entry.file_name(), ": data_offsets is not a pair [begin, end]");
  require(offsets[1] - offsets[0] == bytes, ErrorCode::kInvalidArgument, entry.file_name(),
          ": data_offsets span ", offsets[1] - offsets[0], " bytes, the shape needs ", bytes);
  require(static_cast<uint64_t>(offsets[1]) <= data.size(), ErrorCode::kInvalidArgument,
          entry.file_name(), ": truncated: data ends at ", offsets[1], ", the file holds ",
          data.size(), " bytes of data");
  view.data = data.data() + offsets[0];
  extent.begin = static_cast<uint64_t>(offsets[0]);
  extent.end = static_cast<uint64_t>(offsets[1]);
  return view;
}

// Sorted by offset the tensors fill the data without hole or overlap.
void check_contiguous(std::vector<Extent> extents, uint64_t data_bytes,
                      const std::string& file_name) {
  std::ranges::sort(extents, [](const Extent& a, const Extent& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t position = 0;
  for (const Extent& extent : extents) {
    require(extent.begin == position, ErrorCode::kInvalidArgument, file_name, ": tensor ",
            extent.name, " begins at ", extent.begin,
            extent.begin < position ? ", inside another: tensors overlap"
                                    : ", after a hole in the data");
    position = extent.end;
  }
  require(position == data_bytes, ErrorCode::kInvalidArgument, file_name, ": the tensors end at ",
          position, ", the data at ", data_bytes);
}

}  // namespace

TensorMap parse_safetensors(std::span<const std::byte> file, const std::string& file_name) {
  const std::string_view text = read_header(file, file_name);
  const std::span<const std::byte> data = file.subspan(sizeof(uint64_t) + text.size());
  const json header = parse_json(text, file_name + ": header");
  TensorMap tensors;
  std::vector<Extent> extents;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      check_metadata(value, file_name);
      continue;
    }
    const JsonObject entry(value, file_name + ": tensor " + name);
    Extent extent{};
    const auto added = tensors.emplace(name, read_tensor(entry, data, extent)).first;
    extent.name = added->first;
    extents.push_back(extent);
  }
  check_contiguous(std::move(extents), data.size(), file_name);
  return tensors;
}

}  // namespace lychee::io
