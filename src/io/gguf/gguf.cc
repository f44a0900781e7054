#include "io/gguf/gguf.h"

#include <bit>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/math.h"

namespace lychee::io {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF is read by memory copy");

enum class ValueType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
};

constexpr uint32_t kMaxDims = 4;          // ggml's own limit
constexpr uint64_t kMaxKeyBytes = 65535;  // the format's own limit
constexpr uint64_t kMaxAlignment = 1U << 20;
constexpr int kMaxNesting = 4;
// Fewest bytes that a key-value pair and a tensor info can take: bounds counts before any
// allocation.
constexpr uint64_t kMinPairBytes = 8 + 4 + 1;
constexpr uint64_t kMinTensorBytes = 8 + 4 + 8 + 4 + 8;

// Reads forward through the header; whatever lies beyond the file is an error.
class Reader {
 public:
  Reader(std::span<const std::byte> file, const std::string& file_name)
      : file_(file), file_name_(file_name) {}

  template <typename T>
  T read(std::string_view what) {
    check_left(sizeof(T), what);
    T value;
    std::memcpy(&value, file_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return value;
  }

  std::string read_string(std::string_view what, uint64_t max_bytes) {
    const auto length = read<uint64_t>(what);
    require(length <= max_bytes, ErrorCode::kInvalidArgument, file_name_, ": ", what, " of ",
            length, " bytes at byte ", position_, " is longer than ", max_bytes);
    check_left(length, what);
    std::string text(length, '\0');
    std::memcpy(text.data(), file_.data() + position_, length);
    position_ += length;
    return text;
  }

  // A count of things that take at least `min_bytes` each.
  uint64_t read_count(std::string_view what, uint64_t min_bytes) {
    const auto count = read<uint64_t>(what);
    require(count <= left() / min_bytes, ErrorCode::kInvalidArgument, file_name_, ": ", what, " ",
            count, " does not fit into the ", left(),
            " bytes that follow; the file is truncated or "
            "damaged");
    return count;
  }

  [[nodiscard]] uint64_t left() const { return file_.size() - position_; }
  [[nodiscard]] uint64_t position() const { return position_; }
  [[nodiscard]] const std::string& file_name() const { return file_name_; }

 private:
  void check_left(uint64_t bytes, std::string_view what) const {
    require(bytes <= left(), ErrorCode::kInvalidArgument, file_name_, ": truncated: ", what,
            " at byte ", position_, " needs ", bytes, " bytes, the file has ", left(), " left");
  }

  std::span<const std::byte> file_;
  const std::string& file_name_;
  size_t position_ = 0;
};

template <typename Stored, typename Kept>
std::vector<Kept> read_numbers(Reader& reader) {
  const uint64_t count = reader.read_count("array length", sizeof(Stored));
  std::vector<Kept> values;
  values.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    const auto value = reader.read<Stored>("array value");
    if constexpr (std::is_same_v<Stored, uint64_t>) {
      require(value <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()),
              ErrorCode::kInvalidArgument, reader.file_name(), ": array value ", value, " at byte ",
              reader.position() - sizeof(Stored), " is not below 2^63");
    }
    values.push_back(static_cast<Kept>(value));
  }
  return values;
}

std::vector<std::string> read_strings(Reader& reader) {
  const uint64_t count = reader.read_count("array length", sizeof(uint64_t));
  std::vector<std::string> values;
  values.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    values.push_back(reader.read_string("string", reader.left()));
  }
  return values;
}

GgufValue read_array(Reader& reader, int depth) {
  require(depth <= kMaxNesting, ErrorCode::kInvalidArgument, reader.file_name(),
          ": arrays nested more than ", kMaxNesting, " deep at byte ", reader.position());
  const auto type = reader.read<uint32_t>("array type");
  switch (static_cast<ValueType>(type)) {
    case ValueType::kU8:
    case ValueType::kBool:
      return read_numbers<uint8_t, int64_t>(reader);
    case ValueType::kI8:
      return read_numbers<int8_t, int64_t>(reader);
    case ValueType::kU16:
      return read_numbers<uint16_t, int64_t>(reader);
    case ValueType::kI16:
      return read_numbers<int16_t, int64_t>(reader);
    case ValueType::kU32:
      return read_numbers<uint32_t, int64_t>(reader);
    case ValueType::kI32:
      return read_numbers<int32_t, int64_t>(reader);
    case ValueType::kU64:
      return read_numbers<uint64_t, int64_t>(reader);
    case ValueType::kI64:
      return read_numbers<int64_t, int64_t>(reader);
    case ValueType::kF32:
      return read_numbers<float, float>(reader);
    case ValueType::kF64:
      return read_numbers<double, double>(reader);
    case ValueType::kString:
      return read_strings(reader);
    case ValueType::kArray: {
      const uint64_t count = reader.read_count("array length", sizeof(uint32_t) + sizeof(uint64_t));
      for (uint64_t i = 0; i < count; ++i) {
        static_cast<void>(read_array(reader, depth + 1));
      }
      return GgufNestedArray{};
    }
  }
  fail(ErrorCode::kInvalidArgument, reader.file_name(), ": unknown array type ", type, " at byte ",
       reader.position() - sizeof(type));
}

GgufValue read_value(Reader& reader) {
  const auto type = reader.read<uint32_t>("value type");
  switch (static_cast<ValueType>(type)) {
    case ValueType::kU8:
      return int64_t{reader.read<uint8_t>("value")};
    case ValueType::kI8:
      return int64_t{reader.read<int8_t>("value")};
    case ValueType::kU16:
      return int64_t{reader.read<uint16_t>("value")};
    case ValueType::kI16:
      return int64_t{reader.read<int16_t>("value")};
    case ValueType::kU32:
      return int64_t{reader.read<uint32_t>("value")};
    case ValueType::kI32:
      return int64_t{reader.read<int32_t>("value")};
    case ValueType::kI64:
      return reader.read<int64_t>("value");
    case ValueType::kU64: {
      const auto value = reader.read<uint64_t>("value");
      if (value <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        return static_cast<int64_t>(value);
      }
      return value;
    }
    case ValueType::kF32:
      return double{reader.read<float>("value")};
    case ValueType::kF64:
      return reader.read<double>("value");
    case ValueType::kBool:
      return reader.read<uint8_t>("value") != 0;
    case ValueType::kString:
      return reader.read_string("string", reader.left());
    case ValueType::kArray:
      return read_array(reader, 1);
  }
  fail(ErrorCode::kInvalidArgument, reader.file_name(), ": unknown value type ", type, " at byte ",
       reader.position() - sizeof(type));
}

GgufTensorInfo read_tensor_info(Reader& reader) {
  GgufTensorInfo info;
  info.name = reader.read_string("tensor name", kMaxKeyBytes);
  const auto dims = reader.read<uint32_t>("number of dimensions");
  require(dims >= 1 && dims <= kMaxDims, ErrorCode::kInvalidArgument, reader.file_name(),
          ": tensor ", info.name, " has ", dims, " dimensions; 1 to ", kMaxDims, " are legal");
  info.shape.resize(dims);
  for (uint32_t i = 0; i < dims; ++i) {
    const auto size = reader.read<uint64_t>("dimension");
    require(size <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()),
            ErrorCode::kInvalidArgument, reader.file_name(), ": tensor ", info.name,
            " has a dimension of ", size);
    info.shape[dims - 1 - i] = static_cast<int64_t>(size);
  }
  info.type = reader.read<uint32_t>("tensor type");
  info.offset = reader.read<uint64_t>("tensor offset");
  return info;
}

void check_version(Reader& reader, GgufHeader& header) {
  const auto magic = reader.read<uint32_t>("magic");
  constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
  require(magic == kMagic, ErrorCode::kInvalidArgument, reader.file_name(),
          " is not a GGUF file: it does not begin with the letters GGUF");
  header.version = reader.read<uint32_t>("version");
  require(header.version == 0 || (header.version & 0xffff) != 0, ErrorCode::kUnsupported,
          reader.file_name(), " is a big-endian GGUF file; only little-endian ones are read");
  require(header.version == 2 || header.version == 3, ErrorCode::kUnsupported, reader.file_name(),
          " has GGUF version ", header.version, "; versions 2 and 3 are read");
}

uint64_t read_alignment(const GgufMetadata& metadata) {
  const int64_t alignment = metadata.integer("general.alignment").value_or(32);
  require(alignment > 0 && static_cast<uint64_t>(alignment) <= kMaxAlignment &&
              std::has_single_bit(static_cast<uint64_t>(alignment)),
          ErrorCode::kInvalidArgument, metadata.file_name(), ": general.alignment is ", alignment,
          ", not a power of two up to ", kMaxAlignment);
  return static_cast<uint64_t>(alignment);
}

}  // namespace

GgufHeader parse_gguf_header(std::span<const std::byte> file, const std::string& file_name) {
  Reader reader(file, file_name);
  GgufHeader header;
  check_version(reader, header);
  header.metadata = GgufMetadata(file_name);
  const auto num_tensors = reader.read_count("tensor count", kMinTensorBytes);
  const auto num_pairs = reader.read_count("key count", kMinPairBytes);
  for (uint64_t i = 0; i < num_pairs; ++i) {
    std::string key = reader.read_string("key", kMaxKeyBytes);
    GgufValue value = read_value(reader);
    require(header.metadata.insert(key, std::move(value)), ErrorCode::kInvalidArgument, file_name,
            ": metadata key ", key, " occurs twice");
  }
  header.tensors.reserve(num_tensors);
  for (uint64_t i = 0; i < num_tensors; ++i) {
    header.tensors.push_back(read_tensor_info(reader));
  }
  header.alignment = read_alignment(header.metadata);
  header.data_offset = round_up(reader.position(), header.alignment);
  return header;
}

}  // namespace lychee::io
