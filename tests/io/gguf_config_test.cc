#include "io/gguf/gguf_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "support/expect_error.h"
#include "support/tiny_model.h"

namespace lychee::io {
namespace {

using test::expect_error;
using test::GgufWriter;
using testing::ElementsAre;

constexpr auto kInvalid = ErrorCode::kInvalidArgument;
constexpr auto kUnsupported = ErrorCode::kUnsupported;

ModelConfig read(GgufWriter writer) {
  writer.u32("llama.vocab_size", 96);
  const test::Bytes file = writer.encode();
  const GgufHeader header = parse_gguf_header(file, "m.gguf");
  return read_gguf_config(header.metadata, gguf_tensors(header, file));
}

GgufWriter tiny_header() {
  return test::gguf_header(test::tiny_config());
}

TEST(GgufConfig, ReadsShape) {
  const ModelConfig config = read(tiny_header());
  EXPECT_EQ(config.architecture, Architecture::kLlama);
  EXPECT_EQ(config.num_layers, 3);
  EXPECT_EQ(config.hidden_size, 64);
  EXPECT_EQ(config.intermediate_size, 96);
  EXPECT_EQ(config.num_q_heads, 4);
  EXPECT_EQ(config.num_kv_heads, 2);
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.vocab_size, 96);
  EXPECT_EQ(config.context_length, 256);
  EXPECT_EQ(config.rms_norm_eps, 1e-5F);
  EXPECT_TRUE(config.tie_word_embeddings);
  EXPECT_TRUE(config.rope_freq_factors.empty());
}

TEST(GgufConfig, SmallHeadersGetDefaults) {
  GgufWriter writer;
  writer.string("general.architecture", "llama");
  for (const char* key : {"block_count", "context_length", "feed_forward_length"}) {
    writer.u32(std::string("llama.") + key, 8);
  }
  writer.u32("llama.embedding_length", 64);
  writer.i32s("llama.attention.head_count", std::vector<int32_t>(8, 4));
  writer.f32("llama.attention.layer_norm_rms_epsilon", 1e-6F);
  const ModelConfig config = read(writer);
  EXPECT_EQ(config.num_q_heads, 4);
  EXPECT_EQ(config.num_kv_heads, 4);
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.rope_theta, 10000);
}

TEST(GgufConfig, TensorsSettleWhatMetadataLeavesOpen) {
  GgufWriter writer = tiny_header();
  for (const char* name : {"blk.0.attn_q.bias", "blk.0.attn_output.bias", "blk.0.ffn_gate.bias"}) {
    writer.tensor(test::make_blank_tensor(name, {64}, DType::kF32));
  }
  writer.tensor(test::make_blank_tensor("token_embd.weight", {100, 64}, DType::kF32));
  writer.tensor(test::make_blank_tensor("output.weight", {100, 64}, DType::kF32));
  const ModelConfig config = read(writer);
  EXPECT_EQ(config.vocab_size, 100);
  EXPECT_TRUE(config.attention_bias);
  EXPECT_TRUE(config.attention_output_bias);
  EXPECT_TRUE(config.mlp_bias);
  EXPECT_FALSE(config.tie_word_embeddings);
}

TEST(GgufConfig, ReadsRopeScaling) {
  GgufWriter linear = tiny_header();
  linear.f32("llama.rope.scale_linear", 4);
  EXPECT_EQ(read(linear).rope_scaling.type, RopeType::kLinear);
  EXPECT_EQ(read(linear).rope_scaling.factor, 4);
  GgufWriter none = tiny_header();
  none.string("llama.rope.scaling.type", "none");
  none.f32("llama.rope.scaling.factor", 4);
  EXPECT_EQ(read(none).rope_scaling.type, RopeType::kDefault);
  GgufWriter yarn = tiny_header();
  yarn.string("llama.rope.scaling.type", "yarn");
  yarn.f32("llama.rope.scaling.factor", 4);
  yarn.u32("llama.rope.scaling.original_context_length", 64);
  yarn.f32("llama.rope.scaling.attn_factor", 2);
  const RopeScaling scaling = read(yarn).rope_scaling;
  EXPECT_EQ(scaling.type, RopeType::kYarn);
  EXPECT_EQ(scaling.original_context, 64);
  EXPECT_DOUBLE_EQ(scaling.attention_factor.value_or(0), 2 * (0.1 * std::log(4.0) + 1));
}

TEST(GgufConfig, ReadsFrequencyFactors) {
  ModelConfig config = test::tiny_config();
  config.rope_freq_factors = {1, 1, 1, 2, 4, 8, 8, 8};
  EXPECT_EQ(read(test::gguf_header(config)).rope_freq_factors, config.rope_freq_factors);
}

struct Refusal {
  const char* name;
  std::function<void(GgufWriter&)> change;
  ErrorCode code;
  const char* message;
};

class GgufConfigRefusal : public testing::TestWithParam<Refusal> {};

TEST_P(GgufConfigRefusal, NamesTheValue) {
  GgufWriter writer = tiny_header();
  GetParam().change(writer);
  expect_error(GetParam().code, GetParam().message, [&] { static_cast<void>(read(writer)); });
}

void add_factors(GgufWriter& writer, const std::vector<float>& values) {
  writer.tensor(
      test::make_tensor("rope_freqs.weight", {static_cast<int64_t>(values.size())}, values));
}

const Refusal kRefusals[] = {
    {"split", [](GgufWriter& w) { w.u32("split.count", 3); }, kUnsupported, "one of 3 parts"},
    {"experts", [](GgufWriter& w) { w.u32("llama.expert_count", 8); }, kUnsupported,
     "mixture-of-experts"},
    {"window", [](GgufWriter& w) { w.u32("llama.attention.sliding_window", 64); }, kUnsupported,
     "sliding_window is 64"},
    {"partial_rope", [](GgufWriter& w) { w.u32("llama.rope.dimension_count", 8); }, kUnsupported,
     "RoPE over 8 of 16"},
    {"rope_type", [](GgufWriter& w) { w.string("llama.rope.scaling.type", "longrope"); },
     kUnsupported, "RoPE scaling longrope"},
    {"rope_factor", [](GgufWriter& w) { w.f32("llama.rope.scaling.factor", 0.5F); }, kInvalid,
     "rope.scaling.factor is 0.5"},
    {"rope_nan",
     [](GgufWriter& w) {
       w.f32("llama.rope.scaling.factor", std::numeric_limits<float>::quiet_NaN());
     },
     kInvalid, "rope.scaling.factor is nan"},
    {"yarn_extension",
     [](GgufWriter& w) {
       w.string("llama.rope.scaling.type", "yarn");
       w.f32("llama.rope.scaling.factor", 2);
       w.f32("llama.rope.scaling.yarn_ext_factor", 0.5F);
     },
     kUnsupported, "yarn_ext_factor is 0.5"},
    {"factor_count",
     [](GgufWriter& w) {
       add_factors(w, {1, 1, 1});
     },
     kInvalid, "rope_freqs.weight is not F32 of 8"},
    {"factor_zero", [](GgufWriter& w) { add_factors(w, std::vector<float>(8, 0)); }, kInvalid,
     "not above 0"},
};

INSTANTIATE_TEST_SUITE_P(Values, GgufConfigRefusal, testing::ValuesIn(kRefusals),
                         [](const auto& info) { return std::string(info.param.name); });

// A header of single keys, each of which may be replaced.
GgufWriter header_with(const std::string& key, const std::function<void(GgufWriter&)>& value) {
  GgufWriter writer;
  const auto put = [&](const char* name, uint32_t number) {
    if (key == name) {
      value(writer);
    } else {
      writer.u32(name, number);
    }
  };
  if (key == "general.architecture") {
    value(writer);
  } else {
    writer.string("general.architecture", "llama");
  }
  put("llama.block_count", 3);
  put("llama.context_length", 256);
  put("llama.embedding_length", 64);
  put("llama.feed_forward_length", 96);
  put("llama.attention.head_count", 4);
  put("llama.attention.head_count_kv", 2);
  put("llama.attention.value_length", 16);
  writer.f32("llama.attention.layer_norm_rms_epsilon", 1e-5F);
  return writer;
}

void expect_refused(const std::string& key, const std::function<void(GgufWriter&)>& value,
                    ErrorCode code, const char* message) {
  expect_error(code, message, [&] { static_cast<void>(read(header_with(key, value))); });
}

TEST(GgufConfig, RefusesBadShapes) {
  const std::string count = "llama.block_count";
  expect_refused(
      count, [](GgufWriter&) {}, kInvalid, "llama.block_count is missing");
  expect_refused(
      count, [&](GgufWriter& w) { w.u32(count, 0); }, kInvalid, "layers is 0");
  expect_refused(
      count, [&](GgufWriter& w) { w.i32(count, -1); }, kInvalid, "block_count is -1");
  expect_refused(
      count, [&](GgufWriter& w) { w.u64(count, 1ULL << 40); }, kInvalid,
      "block_count is 1099511627776");
  const std::string heads = "llama.attention.head_count";
  expect_refused(
      heads, [&](GgufWriter& w) { w.u32(heads, 0); }, kInvalid, "at least 1");
  expect_refused(
      heads, [&](GgufWriter& w) { w.u32(heads, 3); }, kUnsupported, "keys of 21");
  const std::string kv = "llama.attention.head_count_kv";
  expect_refused(
      kv, [&](GgufWriter& w) { w.u32(kv, 3); }, kInvalid, "not a multiple of 3");
  expect_refused(
      kv,
      [&](GgufWriter& w) {
        w.i32s(kv, std::vector<int32_t>{1, 2, 2});
      },
      kUnsupported, "differs between layers");
  expect_refused(
      kv, [&](GgufWriter& w) { w.i32s(kv, {}); }, kInvalid, "is empty");
  expect_refused(
      kv, [&](GgufWriter& w) { w.string(kv, "2"); }, kInvalid, "not an integer");
  const std::string value = "llama.attention.value_length";
  expect_refused(
      value, [&](GgufWriter& w) { w.u32(value, 8); }, kUnsupported, "keys of 16 and values of 8");
}

TEST(GgufConfig, RefusesOtherArchitectures) {
  const std::string key = "general.architecture";
  expect_refused(
      key, [&](GgufWriter& w) { w.string(key, "gemma3"); }, kUnsupported, "architecture gemma3");
  expect_refused(
      key, [](GgufWriter&) {}, kInvalid, "general.architecture is missing");
}

TEST(GgufConfig, CollectsEndIds) {
  GgufWriter writer;
  writer.u32("tokenizer.ggml.eos_token_id", 2);
  writer.u32("tokenizer.ggml.eot_token_id", 2);
  writer.strings("tokenizer.ggml.tokens",
                 std::vector<std::string>{"<|endoftext|>", "<|im_start|>", "<|im_end|>", "</s>"});
  writer.i32s("tokenizer.ggml.token_type", std::vector<int32_t>{3, 3, 3, 1});
  writer.f32("general.sampling.temp", 0.5F);
  writer.i32("general.sampling.top_k", 20);
  const test::Bytes file = writer.encode();
  const GenerationDefaults defaults =
      read_gguf_generation(parse_gguf_header(file, "m.gguf").metadata);
  EXPECT_THAT(defaults.eos_ids, ElementsAre(2, 0));  // </s> is a normal token here
  EXPECT_EQ(defaults.temperature, 0.5);
  EXPECT_EQ(defaults.top_k, 20);
  EXPECT_EQ(defaults.top_p, std::nullopt);
}

}  // namespace
}  // namespace lychee::io
