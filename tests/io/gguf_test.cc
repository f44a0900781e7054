#include "io/gguf/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "support/expect_error.h"
#include "support/model_writer.h"

namespace lychee::io {
namespace {

using test::Bytes;
using test::expect_error;
using test::GgufWriter;
using testing::ElementsAre;

constexpr auto kInvalid = ErrorCode::kInvalidArgument;
constexpr auto kUnsupported = ErrorCode::kUnsupported;

std::map<std::string, TensorView, std::less<>> parse_all(const Bytes& file) {
  return gguf_tensors(parse_gguf_header(file, "m.gguf"), file);
}

void expect_refused(const Bytes& file, ErrorCode code, const char* message) {
  expect_error(code, message, [&] { static_cast<void>(parse_all(file)); });
}

GgufWriter every_kind() {
  GgufWriter writer;
  writer.u32("u32", 7);
  writer.i32("i32", -7);
  writer.f32("f32", 0.5F);
  writer.boolean("bool", true);
  writer.string("string", "héllo");
  writer.u64("u64", 1ULL << 40);
  writer.u64("huge", UINT64_MAX);
  writer.strings("strings", std::vector<std::string>{"a", "", "c"});
  writer.i32s("i32s", std::vector<int32_t>{1, -2});
  writer.f32s("f32s", std::vector<float>{1.5F});
  writer.tensor(test::make_tensor("w", {2, 3}, std::vector<float>{1, 2, 3, 4, 5, 6}));
  writer.tensor(test::make_tensor("h", {1}, std::vector<float>{2}, DType::kF16));
  return writer;
}

TEST(Gguf, ReadsTypedMetadata) {
  const Bytes file = every_kind().encode();
  const GgufHeader header = parse_gguf_header(file, "m.gguf");
  const GgufMetadata& metadata = header.metadata;
  EXPECT_EQ(header.version, 3U);
  EXPECT_EQ(metadata.size(), 10U);
  EXPECT_EQ(metadata.integer("u32"), 7);
  EXPECT_EQ(metadata.required_integer("i32"), -7);
  EXPECT_EQ(metadata.integer("u64"), int64_t{1} << 40);
  EXPECT_EQ(metadata.number("f32"), 0.5);
  EXPECT_EQ(metadata.required_number("i32"), -7);
  EXPECT_EQ(metadata.boolean("bool"), true);
  EXPECT_EQ(metadata.required_string("string"), "héllo");
  EXPECT_THAT(metadata.required_strings("strings"), ElementsAre("a", "", "c"));
  EXPECT_THAT(*metadata.integers("i32s"), ElementsAre(1, -2));
  EXPECT_THAT(*metadata.floats("f32s"), ElementsAre(1.5F));
  EXPECT_TRUE(metadata.is_array("f32s"));
  EXPECT_FALSE(metadata.is_array("f32"));
}

TEST(Gguf, MissingKeysAreNothing) {
  const GgufMetadata metadata("m.gguf");
  EXPECT_EQ(metadata.integer("x"), std::nullopt);
  EXPECT_EQ(metadata.number("x"), std::nullopt);
  EXPECT_EQ(metadata.boolean("x"), std::nullopt);
  EXPECT_EQ(metadata.string("x"), nullptr);
  EXPECT_EQ(metadata.strings("x"), nullptr);
  EXPECT_EQ(metadata.integers("x"), nullptr);
  EXPECT_EQ(metadata.floats("x"), nullptr);
  const char* message = "m.gguf: metadata key x is missing";
  expect_error(kInvalid, message, [&] { static_cast<void>(metadata.required_integer("x")); });
  expect_error(kInvalid, message, [&] { static_cast<void>(metadata.required_number("x")); });
  expect_error(kInvalid, message, [&] { static_cast<void>(metadata.required_string("x")); });
  expect_error(kInvalid, message, [&] { static_cast<void>(metadata.required_strings("x")); });
}

TEST(Gguf, RefusesKeysOfAnotherType) {
  const Bytes file = every_kind().encode();
  const GgufMetadata metadata = parse_gguf_header(file, "m.gguf").metadata;
  expect_error(kInvalid, "f32 is not an integer",
               [&] { static_cast<void>(metadata.integer("f32")); });
  expect_error(kInvalid, "huge is not an integer below 2^63",
               [&] { static_cast<void>(metadata.integer("huge")); });
  expect_error(kInvalid, "string is not a number",
               [&] { static_cast<void>(metadata.number("string")); });
  expect_error(kInvalid, "u32 is not a boolean",
               [&] { static_cast<void>(metadata.boolean("u32")); });
  expect_error(kInvalid, "u32 is not a string", [&] { static_cast<void>(metadata.string("u32")); });
  expect_error(kInvalid, "not an array of strings",
               [&] { static_cast<void>(metadata.strings("i32s")); });
  expect_error(kInvalid, "not an array of integers",
               [&] { static_cast<void>(metadata.integers("strings")); });
  expect_error(kInvalid, "not an array of 32-bit floats",
               [&] { static_cast<void>(metadata.floats("i32s")); });
}

TEST(Gguf, ReadsEveryScalarAndArrayType) {
  constexpr std::array<size_t, 13> kSizes = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  for (uint32_t type = 0; type < kSizes.size(); ++type) {
    if (kSizes[type] == 0) {
      continue;
    }
    GgufWriter writer;
    Bytes one(kSizes[type]);
    one[0] = std::byte{1};
    writer.raw("scalar", type, one);
    Bytes array;
    test::append_number(array, type);
    test::append_number(array, uint64_t{2});
    array.insert(array.end(), one.begin(), one.end());
    array.insert(array.end(), one.begin(), one.end());
    writer.raw("array", 9, array);
    writer.u32("after", 5);
    const Bytes file = writer.encode();
    const GgufMetadata metadata = parse_gguf_header(file, "f").metadata;
    EXPECT_EQ(metadata.integer("after"), 5) << type;
    EXPECT_TRUE(metadata.is_array("array")) << type;
  }
}

TEST(Gguf, FindsTensorsInBothVersions) {
  for (const uint32_t version : {2U, 3U}) {
    GgufWriter writer = every_kind();
    writer.version = version;
    const Bytes file = writer.encode();
    const auto tensors = parse_all(file);
    ASSERT_EQ(tensors.size(), 2U);
    EXPECT_THAT(tensors.at("w").shape, ElementsAre(2, 3));
    float last = 0;
    std::memcpy(&last, tensors.at("w").data + 20, sizeof(last));
    EXPECT_EQ(last, 6);
    EXPECT_EQ((tensors.at("h").data - file.data()) % 32, 0);
  }
}

TEST(Gguf, FollowsTheAlignmentKey) {
  GgufWriter writer = every_kind();
  writer.alignment = 8;
  const Bytes file = writer.encode();
  EXPECT_EQ(parse_gguf_header(file, "f").alignment, 8U);
  EXPECT_EQ(parse_all(file).at("h").data - parse_all(file).at("w").data, 24);
}

TEST(Gguf, KnowsEverySupportedType) {
  for (int i = 0; i <= static_cast<int>(DType::kQ6_K); ++i) {
    const auto dtype = static_cast<DType>(i);
    GgufWriter writer;
    writer.tensor(test::make_blank_tensor("x", {2, 256}, dtype));
    const Bytes file = writer.encode();
    EXPECT_EQ(parse_all(file).at("x").dtype, dtype);
  }
}

TEST(Gguf, RefusesOtherTypesByName) {
  const std::array<std::pair<uint32_t, const char*>, 5> cases = {
      {{10, "Q2_K"}, {23, "IQ4_XS"}, {24, "I8"}, {39, "MXFP4"}, {4, "number 4"}}};
  for (const auto& [type, name] : cases) {
    GgufWriter writer;
    writer.raw_tensor("x", std::array<uint64_t, 1>{256}, type, 0);
    Bytes file = writer.encode();
    file.resize(file.size() + 4096);
    expect_refused(file, kUnsupported, name);
  }
}

TEST(Gguf, RefusesEveryTruncation) {
  const Bytes file = every_kind().encode();
  for (size_t size = 0; size < file.size(); ++size) {
    const Bytes part(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_THROW(static_cast<void>(parse_all(part)), Error) << size;
  }
}

TEST(Gguf, RefusesOtherFilesAndVersions) {
  Bytes file = every_kind().encode();
  file[0] = std::byte{'X'};
  expect_refused(file, kInvalid, "not a GGUF file");
  GgufWriter writer;
  writer.version = 1;
  expect_refused(writer.encode(), kUnsupported, "GGUF version 1");
  writer.version = 4;
  expect_refused(writer.encode(), kUnsupported, "GGUF version 4");
  writer.version = 0x03000000;
  expect_refused(writer.encode(), kUnsupported, "big-endian");
}

TEST(Gguf, RefusesCountsThatCannotFit) {
  GgufWriter writer = every_kind();
  writer.extra_tensor_count = 1ULL << 62;
  expect_refused(writer.encode(), kInvalid, "tensor count");
  writer = every_kind();
  writer.extra_key_count = UINT64_MAX - 20;
  expect_refused(writer.encode(), kInvalid, "key count");
}

Bytes array_value(uint32_t type, uint64_t count) {
  Bytes value;
  test::append_number(value, type);
  test::append_number(value, count);
  return value;
}

TEST(Gguf, RefusesLyingLengths) {
  GgufWriter writer;
  writer.raw("a", 9, array_value(4, UINT64_MAX / 4 + 2));  // times 4 wraps to a small number
  expect_refused(writer.encode(), kInvalid, "array length");
  writer = {};
  writer.raw("a", 9, array_value(8, 1ULL << 61));
  expect_refused(writer.encode(), kInvalid, "array length");
  writer = {};
  Bytes length;
  test::append_number(length, UINT64_MAX);
  writer.raw("a", 8, length);
  expect_refused(writer.encode(), kInvalid, "string");
  writer = {};
  writer.u32(std::string(70000, 'k'), 1);
  expect_refused(writer.encode(), kInvalid, "longer than 65535");
}

TEST(Gguf, RefusesUnknownTypesDuplicatesAndHugeArrayValues) {
  GgufWriter writer;
  writer.raw("a", 13, Bytes(8));
  expect_refused(writer.encode(), kInvalid, "unknown value type 13");
  writer = {};
  writer.raw("a", 9, array_value(99, 0));
  expect_refused(writer.encode(), kInvalid, "unknown array type 99");
  writer = {};
  writer.u32("a", 1);
  writer.u32("a", 1);
  expect_refused(writer.encode(), kInvalid, "a occurs twice");
  writer = {};
  Bytes value = array_value(10, 1);
  test::append_number(value, UINT64_MAX);
  writer.raw("a", 9, value);
  expect_refused(writer.encode(), kInvalid, "not below 2^63");
}

TEST(Gguf, LimitsNesting) {
  const auto nested = [](int depth) {
    Bytes value;
    for (int i = 1; i < depth; ++i) {
      const Bytes level = array_value(9, 1);
      value.insert(value.end(), level.begin(), level.end());
    }
    const Bytes last = array_value(0, 0);
    value.insert(value.end(), last.begin(), last.end());
    GgufWriter writer;
    writer.raw("a", 9, value);
    return writer.encode();
  };
  EXPECT_TRUE(parse_gguf_header(nested(4), "f").metadata.is_array("a"));
  expect_refused(nested(5), kInvalid, "nested more than 4");
  expect_refused(nested(100'000), kInvalid, "nested more than 4");
}

TEST(Gguf, RefusesBadAlignment) {
  for (const uint32_t alignment : {0U, 3U, 1U << 21}) {
    GgufWriter writer;
    writer.u32("general.alignment", alignment);
    expect_refused(writer.encode(), kInvalid, "general.alignment");
  }
}

Bytes one_tensor(std::vector<uint64_t> dims, uint32_t type, uint64_t offset) {
  GgufWriter writer;
  writer.raw_tensor("x", dims, type, offset);
  Bytes file = writer.encode();
  file.resize(file.size() + 4096);
  return file;
}

TEST(Gguf, RefusesTensorsThatDoNotFit) {
  constexpr uint64_t kHuge = 1ULL << 62;
  expect_refused(one_tensor({1 << 20}, 0, 0), kInvalid, "reaches beyond");
  expect_refused(one_tensor({4}, 0, UINT64_MAX - 31), kInvalid, "reaches beyond");
  expect_refused(one_tensor({4}, 0, UINT64_MAX - 15), kInvalid, "reaches beyond");
  expect_refused(one_tensor({kHuge, 4}, 0, 0), kInvalid, "reaches beyond");
  expect_refused(one_tensor({kHuge}, 0, 0), kInvalid, "reaches beyond");
  expect_refused(one_tensor({UINT64_MAX}, 0, 0), kInvalid, "dimension of");
  expect_refused(one_tensor({}, 0, 0), kInvalid, "0 dimensions");
  expect_refused(one_tensor({1, 1, 1, 1, 1}, 0, 0), kInvalid, "5 dimensions");
  expect_refused(one_tensor({4}, 0, 8), kInvalid, "not aligned to 32");
  expect_refused(one_tensor({33}, 8, 0), kInvalid, "not whole blocks of 32");
  expect_refused(one_tensor({32}, 12, 0), kInvalid, "not whole blocks of 256");
}

TEST(Gguf, RefusesOverlapAndRepeatedNames) {
  GgufWriter writer;
  writer.raw_tensor("x", std::array<uint64_t, 1>{16}, 0, 0);
  writer.raw_tensor("y", std::array<uint64_t, 1>{16}, 0, 32);
  Bytes file = writer.encode();
  file.resize(file.size() + 4096);
  expect_refused(file, kInvalid, "tensors x and y overlap");
  writer = {};
  writer.raw_tensor("x", std::array<uint64_t, 1>{8}, 0, 0);
  writer.raw_tensor("x", std::array<uint64_t, 1>{8}, 0, 32);
  file = writer.encode();
  file.resize(file.size() + 4096);
  expect_refused(file, kInvalid, "tensor x occurs twice");
}

}  // namespace
}  // namespace lychee::io
