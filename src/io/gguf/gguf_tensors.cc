#include <algorithm>
#include <array>
#include <limits>
#include <string>

#include "base/check.h"
#include "base/math.h"
#include "io/gguf/gguf.h"

namespace lychee::io {
namespace {

struct GgufTypeName {
  uint32_t type;
  std::string_view name;
};

// ggml's numbers; what is not here was never released or was withdrawn.
constexpr std::array<GgufTypeName, 33> kTypeNames = {{
    {0, "F32"},     {1, "F16"},    {2, "Q4_0"},     {3, "Q4_1"},    {6, "Q5_0"},     {7, "Q5_1"},
    {8, "Q8_0"},    {9, "Q8_1"},   {10, "Q2_K"},    {11, "Q3_K"},   {12, "Q4_K"},    {13, "Q5_K"},
    {14, "Q6_K"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"},
    {20, "IQ4_NL"}, {21, "IQ3_S"}, {22, "IQ2_S"},   {23, "IQ4_XS"}, {24, "I8"},      {25, "I16"},
    {26, "I32"},    {27, "I64"},   {28, "F64"},     {29, "IQ1_M"},  {30, "BF16"},    {34, "TQ1_0"},
    {35, "TQ2_0"},  {39, "MXFP4"}, {40, "NVFP4"},
}};

std::string type_name(uint32_t type) {
  for (const GgufTypeName& known : kTypeNames) {
    if (known.type == type) {
      return std::string(known.name);
    }
  }
  return "number " + std::to_string(type);
}

bool find_dtype(uint32_t type, DType& dtype) {
  constexpr std::array<std::pair<uint32_t, DType>, 11> kSupported = {{
      {0, DType::kF32},
      {1, DType::kF16},
      {2, DType::kQ4_0},
      {3, DType::kQ4_1},
      {6, DType::kQ5_0},
      {7, DType::kQ5_1},
      {8, DType::kQ8_0},
      {12, DType::kQ4_K},
      {13, DType::kQ5_K},
      {14, DType::kQ6_K},
      {30, DType::kBF16},
  }};
  for (const auto& [number, value] : kSupported) {
    if (number == type) {
      dtype = value;
      return true;
    }
  }
  return false;
}

struct Extent {
  uint64_t begin;  // from the start of the data section
  uint64_t end;
  const std::string* name;
};

DType check_dtype(const GgufTensorInfo& info, const std::string& file_name) {
  DType dtype{};
  require(find_dtype(info.type, dtype), ErrorCode::kUnsupported, file_name, ": tensor ", info.name,
          " has type ", type_name(info.type),
          "; supported are F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K and Q6_K");
  const int block_size = dtype_info(dtype).block_size;
  require(info.shape.back() % block_size == 0, ErrorCode::kInvalidArgument, file_name, ": tensor ",
          info.name, " has rows of ", info.shape.back(), " values, not whole blocks of ",
          block_size);
  return dtype;
}

// Bytes of the tensor; nothing when the product does not fit.
bool tensor_bytes(const GgufTensorInfo& info, DType dtype, uint64_t& bytes) {
  int64_t count = 1;
  for (const int64_t size : info.shape) {
    if (!checked_mul(count, size, count)) {
      return false;
    }
  }
  const DTypeInfo& type = dtype_info(dtype);
  int64_t total = 0;
  if (!checked_mul(count / type.block_size, int64_t{type.block_bytes}, total)) {
    return false;
  }
  bytes = static_cast<uint64_t>(total);
  return true;
}

void check_overlap(std::vector<Extent> extents, const std::string& file_name) {
  std::ranges::sort(extents, [](const Extent& a, const Extent& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  for (size_t i = 1; i < extents.size(); ++i) {
    require(extents[i - 1].end <= extents[i].begin, ErrorCode::kInvalidArgument, file_name,
            ": tensors ", *extents[i - 1].name, " and ", *extents[i].name, " overlap");
  }
}

}  // namespace

std::map<std::string, TensorView, std::less<>> gguf_tensors(const GgufHeader& header,
                                                            std::span<const std::byte> file) {
  const std::string& file_name = header.metadata.file_name();
  require(header.tensors.empty() || header.data_offset <= file.size(), ErrorCode::kInvalidArgument,
          file_name, ": truncated: the data begins at byte ", header.data_offset,
          ", the file ends at ", file.size());
  std::map<std::string, TensorView, std::less<>> tensors;
  std::vector<Extent> extents;
  extents.reserve(header.tensors.size());
  for (const GgufTensorInfo& info : header.tensors) {
    const DType dtype = check_dtype(info, file_name);
    uint64_t bytes = 0;
    uint64_t end = 0;
    const uint64_t data_bytes = file.size() - header.data_offset;
    require(tensor_bytes(info, dtype, bytes) && checked_add(info.offset, bytes, end) &&
                end <= data_bytes,
            ErrorCode::kInvalidArgument, file_name, ": tensor ", info.name, " at offset ",
            info.offset, " reaches beyond the ", data_bytes,
            " bytes of data; the file is truncated or damaged");
    require(info.offset % header.alignment == 0, ErrorCode::kInvalidArgument, file_name,
            ": tensor ", info.name, " at offset ", info.offset, " is not aligned to ",
            header.alignment, " bytes");
    const bool is_new =
        tensors
            .emplace(info.name,
                     TensorView{dtype, info.shape, file.data() + header.data_offset + info.offset})
            .second;
    require(is_new, ErrorCode::kInvalidArgument, file_name, ": tensor ", info.name,
            " occurs twice");
    extents.push_back({info.offset, end, &info.name});
  }
  check_overlap(std::move(extents), file_name);
  return tensors;
}

}  // namespace lychee::io
