#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/tensor_view.h"

namespace lychee::io {

// An array of arrays: legal in the format, used by no model, read over and not kept.
struct GgufNestedArray {};

// A metadata value. Every integer type becomes int64_t (uint64_t only where it does not fit), f32
// and f64 become double; arrays likewise, booleans in arrays as 0 and 1.
using GgufValue = std::variant<int64_t, uint64_t, double, bool, std::string, std::vector<int64_t>,
                               std::vector<float>, std::vector<double>, std::vector<std::string>,
                               GgufNestedArray>;

// The typed key-value pairs of a GGUF header. A getter returns nothing for a missing key and throws
// Error(kInvalidArgument), naming file and key, for one of another type; `required_…` throws for a
// missing key too. Pointers live as long as the metadata.
class GgufMetadata {
 public:
  GgufMetadata() = default;
  explicit GgufMetadata(std::string file_name) : file_name_(std::move(file_name)) {}

  [[nodiscard]] bool contains(std::string_view key) const { return find(key) != nullptr; }
  [[nodiscard]] bool is_array(std::string_view key) const;
  // Any integer type whose value fits.
  [[nodiscard]] std::optional<int64_t> integer(std::string_view key) const;
  // Any integer or floating-point type.
  [[nodiscard]] std::optional<double> number(std::string_view key) const;
  [[nodiscard]] std::optional<bool> boolean(std::string_view key) const;
  [[nodiscard]] const std::string* string(std::string_view key) const;
  [[nodiscard]] const std::vector<std::string>* strings(std::string_view key) const;
  [[nodiscard]] const std::vector<int64_t>* integers(std::string_view key) const;
  [[nodiscard]] const std::vector<float>* floats(std::string_view key) const;

  [[nodiscard]] int64_t required_integer(std::string_view key) const;
  [[nodiscard]] double required_number(std::string_view key) const;
  [[nodiscard]] const std::string& required_string(std::string_view key) const;
  [[nodiscard]] const std::vector<std::string>& required_strings(std::string_view key) const;

  // False when the key is there already.
  [[nodiscard]] bool insert(std::string key, GgufValue value);
  [[nodiscard]] size_t size() const { return values_.size(); }
  // The file's name, for messages.
  [[nodiscard]] const std::string& file_name() const { return file_name_; }

 private:
  [[nodiscard]] const GgufValue* find(std::string_view key) const;
  [[noreturn]] void fail_type(std::string_view key, std::string_view wanted) const;
  [[noreturn]] void fail_missing(std::string_view key) const;

  std::string file_name_;
  std::map<std::string, GgufValue, std::less<>> values_;
};

// A tensor as the header announces it; nothing about its data is checked yet.
struct GgufTensorInfo {
  std::string name;
  std::vector<int64_t> shape;  // outermost first: the file's order reversed
  uint32_t type = 0;           // ggml's number
  uint64_t offset = 0;         // from the start of the data section
};

struct GgufHeader {
  uint32_t version = 0;
  GgufMetadata metadata;
  std::vector<GgufTensorInfo> tensors;
  uint64_t data_offset = 0;  // from the start of the file; aligned
  uint64_t alignment = 32;
};

// Reads a little-endian GGUF header of version 2 or 3 from the bytes of a whole file. `file_name`
// is for messages. Every count and length is checked against the bytes that are left. Throws
// Error(kInvalidArgument) for what is malformed, Error(kUnsupported) for another version or byte
// order.
[[nodiscard]] GgufHeader parse_gguf_header(std::span<const std::byte> file,
                                           const std::string& file_name);

// Views of all tensors, checked: known type, whole blocks a row, aligned, inside the file, none
// overlapping another. `file` must outlive the views. Throws Error(kUnsupported) for a tensor type
// that we do not compute on, naming it.
[[nodiscard]] std::map<std::string, TensorView, std::less<>> gguf_tensors(
    const GgufHeader& header, std::span<const std::byte> file);

}  // namespace lychee::io
