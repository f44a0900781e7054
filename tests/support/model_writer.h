#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/tensor_view.h"

namespace lychee::test {

using Bytes = std::vector<std::byte>;

// A tensor with its own data, on its way into a file.
struct WriterTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;  // outermost first
  Bytes data;

  // Valid while this tensor lives.
  [[nodiscard]] TensorView view() const { return {dtype, shape, data.data()}; }
};

// Converts float values, row-major [shape], to `dtype`: F32, F16, BF16, Q8_0, Q4_0 or Q4_1; rows of
// the last three must be whole blocks of 32.
[[nodiscard]] WriterTensor make_tensor(std::string name, std::vector<int64_t> shape,
                                       std::span<const float> values, DType dtype = DType::kF32);
// Zero bytes of any dtype: for what only looks at tables.
[[nodiscard]] WriterTensor make_blank_tensor(std::string name, std::vector<int64_t> shape,
                                             DType dtype);

// A whole safetensors file, data aligned to 8 bytes.
[[nodiscard]] Bytes encode_safetensors(std::span<const WriterTensor> tensors,
                                       const std::map<std::string, std::string>& metadata = {});
// The same around a header as it is, for lies.
[[nodiscard]] Bytes encode_safetensors_raw(std::string_view header, size_t data_bytes);

// Builds a GGUF file. Keys are written in the order of the calls, with no check of any kind.
class GgufWriter {
 public:
  uint32_t version = 3;
  uint64_t alignment = 32;  // written as general.alignment unless 32
  // Added to what the counts state, for lies.
  uint64_t extra_tensor_count = 0;
  uint64_t extra_key_count = 0;

  void u32(std::string_view key, uint32_t value);
  void u64(std::string_view key, uint64_t value);
  void i32(std::string_view key, int32_t value);
  void f32(std::string_view key, float value);
  void boolean(std::string_view key, bool value);
  void string(std::string_view key, std::string_view value);
  void strings(std::string_view key, std::span<const std::string> values);
  void i32s(std::string_view key, std::span<const int32_t> values);
  void f32s(std::string_view key, std::span<const float> values);
  // A value of the format's type number `type`, already encoded.
  void raw(std::string_view key, uint32_t type, std::span<const std::byte> value);

  void tensor(WriterTensor tensor) { tensors_.push_back(std::move(tensor)); }
  // A tensor info as it is, with no data behind it. `dims` in the file's order, innermost first.
  void raw_tensor(std::string_view name, std::span<const uint64_t> dims, uint32_t type,
                  uint64_t offset);

  [[nodiscard]] Bytes encode() const;

 private:
  Bytes pairs_;
  uint64_t num_pairs_ = 0;
  std::vector<WriterTensor> tensors_;
  Bytes raw_infos_;
  uint64_t num_raw_infos_ = 0;
};

// Little-endian bytes of numbers and length-prefixed strings, as GGUF has them.
template <typename T>
void append_number(Bytes& bytes, T value) {
  const auto* begin = reinterpret_cast<const std::byte*>(&value);
  bytes.insert(bytes.end(), begin, begin + sizeof(T));
}
void append_gguf_string(Bytes& bytes, std::string_view text);

void write_bytes(const std::filesystem::path& path, std::span<const std::byte> bytes);
void write_text(const std::filesystem::path& path, std::string_view text);

// A folder of its own under the system's temporary one, removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace lychee::test
