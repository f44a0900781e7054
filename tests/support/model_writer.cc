#include "support/model_writer.h"

#include <stdlib.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <fstream>
#include <utility>

#include "base/check.h"
#include "base/math.h"
#include "io/json_file.h"

namespace lychee::test {
namespace {

constexpr size_t kBlock = 32;

int64_t count_of(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) {
    count *= size;
  }
  return count;
}

// d · q with q in [-127, 127].
void append_q8_0(Bytes& bytes, std::span<const float> block) {
  float largest = 0;
  for (const float x : block) {
    largest = std::max(largest, std::abs(x));
  }
  const f16 scale(largest / 127);
  const float inverse = largest > 0 ? 127 / largest : 0;
  append_number(bytes, scale.bits);
  for (const float x : block) {
    append_number(bytes, static_cast<int8_t>(std::lround(x * inverse)));
  }
}

void append_nibbles(Bytes& bytes, const std::array<uint8_t, kBlock>& codes) {
  for (size_t i = 0; i < kBlock / 2; ++i) {
    append_number(bytes, static_cast<uint8_t>(codes[i] | (codes[i + kBlock / 2] << 4)));
  }
}

uint8_t to_code(float value) {
  return static_cast<uint8_t>(std::clamp(std::lround(value), 0L, 15L));
}

// d · (q - 8): the value of largest magnitude becomes q = 0.
void append_q4_0(Bytes& bytes, std::span<const float> block) {
  const float extreme = *std::ranges::max_element(block, {}, [](float x) { return std::abs(x); });
  const float scale = extreme / -8;
  append_number(bytes, f16(scale).bits);
  std::array<uint8_t, kBlock> codes{};
  for (size_t i = 0; i < kBlock; ++i) {
    codes[i] = to_code(scale != 0 ? block[i] / scale + 8 : 8);
  }
  append_nibbles(bytes, codes);
}

// d · q + m.
void append_q4_1(Bytes& bytes, std::span<const float> block) {
  const auto [low, high] = std::ranges::minmax(block);
  const float scale = (high - low) / 15;
  append_number(bytes, f16(scale).bits);
  append_number(bytes, f16(low).bits);
  std::array<uint8_t, kBlock> codes{};
  for (size_t i = 0; i < kBlock; ++i) {
    codes[i] = to_code(scale > 0 ? (block[i] - low) / scale : 0);
  }
  append_nibbles(bytes, codes);
}

void append_block(Bytes& bytes, std::span<const float> block, DType dtype) {
  switch (dtype) {
    case DType::kQ8_0:
      return append_q8_0(bytes, block);
    case DType::kQ4_0:
      return append_q4_0(bytes, block);
    case DType::kQ4_1:
      return append_q4_1(bytes, block);
    default:
      fail(ErrorCode::kInternal, "the test writer does not quantise to ", dtype_info(dtype).name);
  }
}

void append_values(Bytes& bytes, std::span<const float> values, DType dtype) {
  if (is_quantized(dtype)) {
    for (size_t i = 0; i < values.size(); i += kBlock) {
      append_block(bytes, values.subspan(i, kBlock), dtype);
    }
    return;
  }
  for (const float value : values) {
    if (dtype == DType::kF32) {
      append_number(bytes, value);
    } else {
      append_number(bytes, dtype == DType::kF16 ? f16(value).bits : bf16(value).bits);
    }
  }
}

uint32_t ggml_type(DType dtype) {
  constexpr std::array<uint32_t, 11> kTypes = {0, 1, 30, 2, 3, 6, 7, 8, 12, 13, 14};
  return kTypes.at(static_cast<size_t>(dtype));
}

std::string safetensors_name(DType dtype) {
  require(!is_quantized(dtype), ErrorCode::kInternal, "safetensors has no quantised dtypes");
  return dtype == DType::kF32 ? "F32" : dtype == DType::kF16 ? "F16" : "BF16";
}

}  // namespace

WriterTensor make_tensor(std::string name, std::vector<int64_t> shape,
                         std::span<const float> values, DType dtype) {
  require(static_cast<int64_t>(values.size()) == count_of(shape) &&
              (!is_quantized(dtype) || shape.back() % static_cast<int64_t>(kBlock) == 0),
          ErrorCode::kInternal, "tensor ", name, ": values and shape do not agree");
  WriterTensor tensor{std::move(name), dtype, std::move(shape), {}};
  append_values(tensor.data, values, dtype);
  return tensor;
}

WriterTensor make_blank_tensor(std::string name, std::vector<int64_t> shape, DType dtype) {
  WriterTensor tensor{std::move(name), dtype, std::move(shape), {}};
  tensor.data.resize(static_cast<size_t>(dtype_bytes(dtype, count_of(tensor.shape))));
  return tensor;
}

Bytes encode_safetensors_raw(std::string_view header, size_t data_bytes) {
  Bytes file;
  append_number(file, static_cast<uint64_t>(header.size()));
  const auto text = std::as_bytes(std::span(header));
  file.insert(file.end(), text.begin(), text.end());
  file.resize(file.size() + data_bytes);
  return file;
}

Bytes encode_safetensors(std::span<const WriterTensor> tensors,
                         const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) {
    header["__metadata__"] = metadata;
  }
  size_t offset = 0;
  for (const WriterTensor& tensor : tensors) {
    header[tensor.name] = {{"dtype", safetensors_name(tensor.dtype)},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + tensor.data.size()}}};
    offset += tensor.data.size();
  }
  std::string text = header.dump();
  text.resize(round_up(text.size(), sizeof(uint64_t)), ' ');
  Bytes file = encode_safetensors_raw(text, 0);
  for (const WriterTensor& tensor : tensors) {
    file.insert(file.end(), tensor.data.begin(), tensor.data.end());
  }
  return file;
}

void append_gguf_string(Bytes& bytes, std::string_view text) {
  append_number(bytes, static_cast<uint64_t>(text.size()));
  const auto data = std::as_bytes(std::span(text));
  bytes.insert(bytes.end(), data.begin(), data.end());
}

void GgufWriter::raw(std::string_view key, uint32_t type, std::span<const std::byte> value) {
  append_gguf_string(pairs_, key);
  append_number(pairs_, type);
  pairs_.insert(pairs_.end(), value.begin(), value.end());
  ++num_pairs_;
}

void GgufWriter::u32(std::string_view key, uint32_t value) {
  raw(key, 4, std::as_bytes(std::span(&value, 1)));
}
void GgufWriter::i32(std::string_view key, int32_t value) {
  raw(key, 5, std::as_bytes(std::span(&value, 1)));
}
void GgufWriter::f32(std::string_view key, float value) {
  raw(key, 6, std::as_bytes(std::span(&value, 1)));
}
void GgufWriter::boolean(std::string_view key, bool value) {
  const auto byte = static_cast<uint8_t>(value);
  raw(key, 7, std::as_bytes(std::span(&byte, 1)));
}
void GgufWriter::u64(std::string_view key, uint64_t value) {
  raw(key, 10, std::as_bytes(std::span(&value, 1)));
}

void GgufWriter::string(std::string_view key, std::string_view value) {
  Bytes bytes;
  append_gguf_string(bytes, value);
  raw(key, 8, bytes);
}

void GgufWriter::strings(std::string_view key, std::span<const std::string> values) {
  Bytes bytes;
  append_number(bytes, uint32_t{8});
  append_number(bytes, static_cast<uint64_t>(values.size()));
  for (const std::string& value : values) {
    append_gguf_string(bytes, value);
  }
  raw(key, 9, bytes);
}

void GgufWriter::i32s(std::string_view key, std::span<const int32_t> values) {
  Bytes bytes;
  append_number(bytes, uint32_t{5});
  append_number(bytes, static_cast<uint64_t>(values.size()));
  for (const int32_t value : values) {
    append_number(bytes, value);
  }
  raw(key, 9, bytes);
}

void GgufWriter::f32s(std::string_view key, std::span<const float> values) {
  Bytes bytes;
  append_number(bytes, uint32_t{6});
  append_number(bytes, static_cast<uint64_t>(values.size()));
  for (const float value : values) {
    append_number(bytes, value);
  }
  raw(key, 9, bytes);
}

void GgufWriter::raw_tensor(std::string_view name, std::span<const uint64_t> dims, uint32_t type,
                            uint64_t offset) {
  append_gguf_string(raw_infos_, name);
  append_number(raw_infos_, static_cast<uint32_t>(dims.size()));
  for (const uint64_t size : dims) {
    append_number(raw_infos_, size);
  }
  append_number(raw_infos_, type);
  append_number(raw_infos_, offset);
  ++num_raw_infos_;
}

Bytes GgufWriter::encode() const {
  constexpr uint64_t kDefaultAlignment = 32;
  GgufWriter all = *this;
  if (alignment != kDefaultAlignment) {
    all.u32("general.alignment", static_cast<uint32_t>(alignment));
  }
  uint64_t offset = 0;
  for (const WriterTensor& tensor : tensors_) {
    std::vector<uint64_t> dims(tensor.shape.rbegin(), tensor.shape.rend());
    all.raw_tensor(tensor.name, dims, ggml_type(tensor.dtype), offset);
    offset = round_up(offset + tensor.data.size(), alignment);
  }
  Bytes file;
  append_number(file, uint32_t{0x46554747});  // "GGUF"
  append_number(file, version);
  append_number(file, all.num_raw_infos_ + extra_tensor_count);
  append_number(file, all.num_pairs_ + extra_key_count);
  file.insert(file.end(), all.pairs_.begin(), all.pairs_.end());
  file.insert(file.end(), all.raw_infos_.begin(), all.raw_infos_.end());
  for (const WriterTensor& tensor : tensors_) {
    file.resize(round_up(file.size(), static_cast<size_t>(alignment)));
    file.insert(file.end(), tensor.data.begin(), tensor.data.end());
  }
  return file;
}

void write_bytes(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  std::ofstream stream(path, std::ios::binary);
  stream.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  stream.close();
  require(stream.good(), ErrorCode::kIo, "cannot write ", path.string());
}

void write_text(const std::filesystem::path& path, std::string_view text) {
  write_bytes(path, std::as_bytes(std::span(text)));
}

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "lychee-test-XXXXXX").string();
  require(::mkdtemp(pattern.data()) != nullptr, ErrorCode::kIo, "cannot make ", pattern);
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace lychee::test
