#include "io/huggingface/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "support/expect_error.h"
#include "support/model_writer.h"

namespace lychee::io {
namespace {

using test::Bytes;
using test::expect_error;
using testing::ElementsAre;

constexpr auto kInvalid = ErrorCode::kInvalidArgument;

Bytes two_tensors() {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const std::vector<test::WriterTensor> tensors = {
      test::make_tensor("b", {2, 3}, values, DType::kF32),
      test::make_tensor("a", {2}, std::vector<float>{-1, 0.5F}, DType::kBF16)};
  return test::encode_safetensors(tensors, {{"format", "pt"}});
}

TEST(Safetensors, ReadsTensorsOfEveryDtype) {
  const std::vector<float> values = {1, 2, 3};
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    const std::vector<test::WriterTensor> tensors = {test::make_tensor("x", {3}, values, dtype)};
    const Bytes file = test::encode_safetensors(tensors);
    const TensorMap parsed = parse_safetensors(file, "f");
    ASSERT_EQ(parsed.size(), 1U);
    const TensorView& view = parsed.at("x");
    EXPECT_EQ(view.dtype, dtype);
    EXPECT_THAT(view.shape, ElementsAre(3));
    EXPECT_EQ(std::memcmp(view.data, tensors[0].data.data(), tensors[0].data.size()), 0);
  }
}

TEST(Safetensors, FindsDataByOffsetNotByOrderOfNames) {
  const Bytes file = two_tensors();
  const TensorMap parsed = parse_safetensors(file, "f");
  ASSERT_EQ(parsed.size(), 2U);
  float third = 0;
  std::memcpy(&third, parsed.at("b").data + 8, sizeof(third));
  EXPECT_EQ(third, 3);
  EXPECT_EQ(parsed.at("a").data - parsed.at("b").data, 24);
}

TEST(Safetensors, AcceptsScalarsEmptyTensorsAndPadding) {
  const Bytes file = test::encode_safetensors_raw(
      R"({"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
      R"("e":{"dtype":"F32","shape":[0,7],"data_offsets":[4,4]}}     )",
      4);
  const TensorMap parsed = parse_safetensors(file, "f");
  EXPECT_EQ(parsed.at("s").count(), 1);
  EXPECT_EQ(parsed.at("e").count(), 0);
  EXPECT_TRUE(parse_safetensors(test::encode_safetensors_raw("{}", 0), "f").empty());
}

struct BadHeader {
  const char* name;
  const char* header;
  size_t data_bytes;
  ErrorCode code;
  const char* message;
};

class SafetensorsRefusal : public testing::TestWithParam<BadHeader> {};

TEST_P(SafetensorsRefusal, SaysWhy) {
  const Bytes file = test::encode_safetensors_raw(GetParam().header, GetParam().data_bytes);
  expect_error(GetParam().code, GetParam().message,
               [&] { static_cast<void>(parse_safetensors(file, "model.safetensors")); });
}

constexpr BadHeader kBadHeaders[] = {
    {"not_an_object", "[]", 0, kInvalid, "does not begin with {"},
    {"leading_space", " {}", 0, kInvalid, "does not begin with {"},
    {"broken_json", "{\"a\":", 0, kInvalid, "not valid JSON"},
    {"trailing_text", "{} x", 0, kInvalid, "not valid JSON"},
    {"invalid_utf8", "{\"\xff\":{}}", 0, kInvalid, "not valid JSON"},
    {"entry_no_object", R"({"a":1})", 0, kInvalid, "tensor a is not a JSON object"},
    {"metadata_number", R"({"__metadata__":{"a":1}})", 0, kInvalid, "__metadata__"},
    {"metadata_list", R"({"__metadata__":["a"]})", 0, kInvalid, "__metadata__"},
    {"duplicate_key",
     R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
     R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
     4, kInvalid, "\"a\" occurs twice"},
    {"no_dtype", R"({"a":{"shape":[1],"data_offsets":[0,4]}})", 4, kInvalid, "dtype is missing"},
    {"int_dtype", R"({"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}})", 8,
     ErrorCode::kUnsupported, "dtype I64"},
    {"fp8_dtype", R"({"a":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}})", 4,
     ErrorCode::kUnsupported, "dtype F8_E4M3"},
    {"negative_size", R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4, kInvalid,
     "integers from 0"},
    {"fractional_size", R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", 4, kInvalid,
     "integers from 0"},
    {"size_over_63_bits",
     R"({"a":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,4]}})", 4, kInvalid,
     "integers from 0"},
    {"product_overflows",
     R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0, kInvalid,
     "not below 2^63"},
    {"product_wraps_to_zero",
     R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0, kInvalid,
     "not below 2^63"},
    {"shape_no_list", R"({"a":{"dtype":"F32","shape":4,"data_offsets":[0,4]}})", 4, kInvalid,
     "shape is not an array"},
    {"one_offset", R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4]}})", 4, kInvalid,
     "not a pair"},
    {"offsets_reversed", R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4, kInvalid,
     "not a pair"},
    {"span_too_long", R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", 8, kInvalid,
     "span 8 bytes, the shape needs 4"},
    {"beyond_the_file", R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 4, kInvalid,
     "truncated"},
    {"offset_near_2_63",
     R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[9223372036854775803,9223372036854775807]}})",
     4, kInvalid, "truncated"},
    {"hole",
     R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
     R"("b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})",
     12, kInvalid, "after a hole"},
    {"hole_at_start", R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8, kInvalid,
     "after a hole"},
    {"overlap",
     R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
     R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
     12, kInvalid, "overlap"},
    {"data_left_over", R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 8, kInvalid,
     "tensors end at 4, the data at 8"},
};

INSTANTIATE_TEST_SUITE_P(Headers, SafetensorsRefusal, testing::ValuesIn(kBadHeaders),
                         [](const auto& info) { return std::string(info.param.name); });

void expect_refused(const Bytes& file, const char* message) {
  expect_error(kInvalid, message,
               [&] { static_cast<void>(parse_safetensors(file, "model.safetensors")); });
}

TEST(Safetensors, RefusesBadLengths) {
  expect_refused(Bytes(7), "too few");
  Bytes file = test::encode_safetensors_raw("{}", 0);
  const auto set_length = [&](uint64_t length) {
    std::memcpy(file.data(), &length, sizeof(length));
  };
  set_length(100'000'001);
  expect_refused(file, "over the limit");
  set_length(UINT64_MAX - 7);  // 8 + N wraps to 0
  expect_refused(file, "over the limit");
  set_length(3);
  expect_refused(file, "truncated");
}

TEST(Safetensors, RefusesDeepNesting) {
  std::string header = R"({"a":)" + std::string(100'000, '[');
  expect_refused(test::encode_safetensors_raw(header, 0), "nested more than");
}

TEST(Safetensors, RefusesEveryTruncation) {
  const Bytes file = two_tensors();
  for (size_t size = 0; size < file.size(); ++size) {
    const Bytes part(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_THROW(static_cast<void>(parse_safetensors(part, "f")), Error) << size;
  }
}

class ShardedFolder : public testing::Test {
 protected:
  void write_shard(const std::string& name, const std::vector<std::string>& tensors) {
    std::vector<test::WriterTensor> data;
    data.reserve(tensors.size());
    for (const std::string& tensor : tensors) {
      data.push_back(test::make_tensor(tensor, {2}, std::vector<float>{1, 2}));
    }
    test::write_bytes(folder_.path() / name, test::encode_safetensors(data));
  }
  void write_index(const std::string& weight_map) {
    test::write_text(folder_.path() / "model.safetensors.index.json",
                     R"({"metadata":{"total_size":1},"weight_map":)" + weight_map + "}");
  }
  void expect_refused(const char* message) {
    expect_error(kInvalid, message,
                 [&] { static_cast<void>(open_safetensors_folder(folder_.path())); });
  }

  test::TemporaryFolder folder_;
};

TEST_F(ShardedFolder, JoinsShards) {
  write_shard("one.safetensors", {"a", "b"});
  write_shard("two.safetensors", {"c"});
  write_index(R"({"a":"one.safetensors","b":"one.safetensors","c":"two.safetensors"})");
  const SafetensorsFolder opened = open_safetensors_folder(folder_.path());
  EXPECT_EQ(opened.tensors.size(), 3U);
  EXPECT_EQ(opened.storage.size(), 2U);
}

TEST_F(ShardedFolder, PrefersTheSingleFile) {
  write_shard("model.safetensors", {"whole"});
  write_index(R"({"a":"missing.safetensors"})");
  EXPECT_TRUE(open_safetensors_folder(folder_.path()).tensors.contains("whole"));
}

TEST_F(ShardedFolder, RefusesFolderWithoutWeights) {
  expect_refused("holds neither");
}

TEST_F(ShardedFolder, RefusesMissingShard) {
  write_index(R"({"a":"one.safetensors"})");
  expect_refused("one.safetensors is missing");
}

TEST_F(ShardedFolder, RefusesTensorAbsentFromItsShard) {
  write_shard("one.safetensors", {"a"});
  write_index(R"({"a":"one.safetensors","b":"one.safetensors"})");
  expect_refused("tensor b is not in the shard");
}

TEST_F(ShardedFolder, RefusesTensorInTwoShards) {
  write_shard("one.safetensors", {"a", "b"});
  write_shard("two.safetensors", {"b"});
  write_index(R"({"a":"one.safetensors","b":"two.safetensors"})");
  expect_refused("tensor b is in another shard too");
}

TEST_F(ShardedFolder, RefusesShardNamesThatLeaveTheFolder) {
  for (const char* name : {"../one.safetensors", "/etc/passwd", "..", ".", "", R"(a\\b)"}) {
    write_index(R"({"a":")" + std::string(name) + "\"}");
    expect_refused("not a plain file name");
  }
}

TEST_F(ShardedFolder, RefusesBadIndex) {
  write_index("{}");
  expect_refused("weight_map is missing or empty");
  write_index("3");
  expect_refused("weight_map is not an object");
  write_index(R"({"a":1})");
  expect_refused("weight_map of a is not a string");
}

}  // namespace
}  // namespace lychee::io
