#include "io/huggingface/hf_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "support/expect_error.h"
#include "support/tiny_model.h"

namespace lychee::io {
namespace {

using nlohmann::json;
using test::expect_error;
using testing::ElementsAre;

constexpr auto kInvalid = ErrorCode::kInvalidArgument;
constexpr auto kUnsupported = ErrorCode::kUnsupported;

json base(Architecture architecture = Architecture::kLlama) {
  return json::parse(test::hf_config_text(test::tiny_config(architecture)));
}

// `config` with the members of `patch` put over it; null removes one.
json patched(json config, const char* patch) {
  config.merge_patch(json::parse(patch));
  return config;
}

ModelConfig read(const json& config) {
  return read_hf_config(JsonObject(config, "config.json"));
}

void expect_refused(const json& config, ErrorCode code, const char* message) {
  expect_error(code, message, [&] { static_cast<void>(read(config)); });
}

TEST(HfConfig, ReadsEveryArchitecture) {
  for (const Architecture architecture :
       {Architecture::kLlama, Architecture::kMistral, Architecture::kQwen2, Architecture::kQwen3}) {
    const ModelConfig config = read(base(architecture));
    EXPECT_EQ(config.architecture, architecture);
    EXPECT_EQ(config.num_layers, 3);
    EXPECT_EQ(config.hidden_size, 64);
    EXPECT_EQ(config.intermediate_size, 96);
    EXPECT_EQ(config.num_q_heads, 4);
    EXPECT_EQ(config.num_kv_heads, 2);
    EXPECT_EQ(config.head_dim, 16);
    EXPECT_EQ(config.vocab_size, 96);
    EXPECT_EQ(config.context_length, 256);
    EXPECT_EQ(config.attention_bias, architecture == Architecture::kQwen2);
    EXPECT_FALSE(config.attention_output_bias);
    EXPECT_EQ(config.qk_norm, architecture == Architecture::kQwen3);
    EXPECT_EQ(config.dtype, DType::kF32);
  }
}

TEST(HfConfig, FallsBackToModelType) {
  EXPECT_EQ(read(patched(base(Architecture::kQwen2), R"({"architectures":null})")).architecture,
            Architecture::kQwen2);
}

TEST(HfConfig, FillsInDefaults) {
  const json config = patched(base(), R"({"head_dim":null,"num_key_value_heads":null,
      "rope_theta":null,"rms_norm_eps":null,"tie_word_embeddings":null,"torch_dtype":"bfloat16"})");
  const ModelConfig read_config = read(config);
  EXPECT_EQ(read_config.head_dim, 16);
  EXPECT_EQ(read_config.num_kv_heads, 4);
  EXPECT_EQ(read_config.rope_theta, 10000);
  EXPECT_EQ(read_config.rms_norm_eps, 1e-6F);
  EXPECT_FALSE(read_config.tie_word_embeddings);
  EXPECT_EQ(read_config.dtype, DType::kBF16);
  EXPECT_EQ(read(patched(base(Architecture::kQwen3), R"({"head_dim":null})")).head_dim, 128);
}

TEST(HfConfig, ReadsBiases) {
  const ModelConfig config =
      read(patched(base(), R"({"attention_bias":true,"mlp_bias":true,"dtype":"float16"})"));
  EXPECT_TRUE(config.attention_bias);
  EXPECT_TRUE(config.attention_output_bias);
  EXPECT_TRUE(config.mlp_bias);
}

TEST(HfConfig, ReadsRopeOfBothTransformersGenerations) {
  const ModelConfig old_style = read(patched(base(), R"({"rope_theta":5e5,"rope_scaling":
      {"type":"linear","factor":4.0}})"));
  EXPECT_EQ(old_style.rope_theta, 5e5);
  EXPECT_EQ(old_style.rope_scaling.type, RopeType::kLinear);
  EXPECT_EQ(old_style.rope_scaling.factor, 4);
  const ModelConfig new_style = read(patched(base(), R"({"rope_theta":null,"rope_parameters":
      {"rope_type":"linear","factor":2,"rope_theta":1e6}})"));
  EXPECT_EQ(new_style.rope_theta, 1e6);
  EXPECT_EQ(new_style.rope_scaling.factor, 2);
  const ModelConfig plain = read(patched(base(), R"({"rope_theta":null,"rope_parameters":
      {"rope_type":"default","rope_theta":7e4}})"));
  EXPECT_EQ(plain.rope_theta, 7e4);
  EXPECT_EQ(plain.rope_scaling.type, RopeType::kDefault);
  EXPECT_EQ(read(patched(base(), R"({"rope_parameters":{"rope_theta":3e4}})")).rope_theta, 3e4);
}

TEST(HfConfig, ReadsLlama3) {
  const RopeScaling scaling = read(patched(base(), R"({"rope_scaling":{"rope_type":"llama3",
      "factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,
      "original_max_position_embeddings":64}})"))
                                  .rope_scaling;
  EXPECT_EQ(scaling.type, RopeType::kLlama3);
  EXPECT_EQ(scaling.factor, 8);
  EXPECT_EQ(scaling.low_freq_factor, 1);
  EXPECT_EQ(scaling.high_freq_factor, 4);
  EXPECT_EQ(scaling.original_context, 64);
}

TEST(HfConfig, ReadsYarn) {
  const ModelConfig config = read(patched(base(), R"({"rope_scaling":{"rope_type":"yarn",
      "factor":4.0,"original_max_position_embeddings":256,"beta_fast":16,"beta_slow":2,
      "attention_factor":1.25,"mscale":0.7,"mscale_all_dim":0.8,"truncate":false}})"));
  EXPECT_EQ(config.rope_scaling.beta_fast, 16);
  EXPECT_EQ(config.rope_scaling.beta_slow, 2);
  EXPECT_EQ(config.rope_scaling.attention_factor, 1.25);
  EXPECT_EQ(config.rope_scaling.mscale, 0.7);
  EXPECT_EQ(config.rope_scaling.mscale_all_dim, 0.8);
  EXPECT_FALSE(config.rope_scaling.truncate);
  EXPECT_EQ(config.context_length, 1024);  // Qwen leaves max_position_embeddings at the original
  const ModelConfig inferred = read(patched(base(), R"({"rope_scaling":{"rope_type":"yarn",
      "original_max_position_embeddings":64}})"));
  EXPECT_EQ(inferred.rope_scaling.factor, 4);
  EXPECT_EQ(inferred.context_length, 256);
}

TEST(HfConfig, DynamicServesFactorTimesTheContext) {
  const ModelConfig config =
      read(patched(base(), R"({"rope_scaling":{"type":"dynamic","factor":2.0}})"));
  EXPECT_EQ(config.rope_scaling.type, RopeType::kDynamic);
  EXPECT_EQ(config.rope_scaling.original_context, 256);
  EXPECT_EQ(config.context_length, 512);
}

TEST(HfConfig, AllowsWindowsThatAreNotUsed) {
  const auto accepts = [](Architecture architecture, const char* patch) {
    return read(patched(base(architecture), patch)).num_layers == 3;
  };
  EXPECT_TRUE(accepts(Architecture::kMistral, R"({"sliding_window":null})"));
  EXPECT_TRUE(accepts(Architecture::kMistral, R"({"sliding_window":256})"));
  EXPECT_TRUE(accepts(Architecture::kQwen2,
                      R"({"sliding_window":32,"use_sliding_window":false,
                          "layer_types":["full_attention","full_attention","full_attention"]})"));
  EXPECT_TRUE(accepts(Architecture::kQwen2, R"({"sliding_window":32})"));
}

struct Refusal {
  const char* name;
  Architecture architecture;
  const char* patch;
  ErrorCode code;
  const char* message;
};

class HfConfigRefusal : public testing::TestWithParam<Refusal> {};

TEST_P(HfConfigRefusal, NamesTheValue) {
  expect_refused(patched(base(GetParam().architecture), GetParam().patch), GetParam().code,
                 GetParam().message);
}

constexpr Architecture kLlama = Architecture::kLlama;
constexpr Refusal kRefusals[] = {
    {"unknown_architecture", kLlama, R"({"architectures":["GPT2LMHeadModel"]})", kUnsupported,
     "architecture GPT2LMHeadModel"},
    {"moe_architecture", kLlama, R"({"architectures":["Qwen3MoeForCausalLM"]})", kUnsupported,
     "Qwen3MoeForCausalLM"},
    {"unknown_model_type", kLlama, R"({"architectures":null,"model_type":"gemma3"})", kUnsupported,
     "gemma3"},
    {"architectures_of_numbers", kLlama, R"({"architectures":[1]})", kInvalid, "architectures"},
    {"nothing_names_it", kLlama, R"({"architectures":null,"model_type":null})", kInvalid,
     "model_type is missing"},
    {"experts", kLlama, R"({"num_local_experts":8})", kUnsupported, "mixture-of-experts"},
    {"quantized", kLlama, R"({"quantization_config":{"quant_method":"gptq"}})", kUnsupported,
     "quantization_config (gptq)"},
    {"activation", kLlama, R"({"hidden_act":"gelu"})", kUnsupported, "hidden_act gelu"},
    {"partial_rotary", kLlama, R"({"partial_rotary_factor":0.5})", kUnsupported,
     "partial_rotary_factor 0.5"},
    {"mistral_window", Architecture::kMistral, R"({"sliding_window":128})", kUnsupported,
     "sliding_window is 128 of a context of 256"},
    {"qwen2_window", Architecture::kQwen2, R"({"sliding_window":32,"use_sliding_window":true})",
     kUnsupported, "sliding_window is 32"},
    {"layer_types", Architecture::kQwen3,
     R"({"sliding_window":32,"layer_types":["full_attention","sliding_attention"]})", kUnsupported,
     "sliding_attention"},
    {"missing_layers", kLlama, R"({"num_hidden_layers":null})", kInvalid,
     "num_hidden_layers is missing"},
    {"zero_layers", kLlama, R"({"num_hidden_layers":0})", kInvalid, "num_hidden_layers is 0"},
    {"layers_as_text", kLlama, R"({"num_hidden_layers":"3"})", kInvalid, "is not an integer"},
    {"huge_hidden", kLlama, R"({"hidden_size":9223372036854775807})", kInvalid, "hidden_size is"},
    {"over_63_bits", kLlama, R"({"hidden_size":9223372036854775808})", kInvalid,
     "not an integer below 2^63"},
    {"ragged_groups", kLlama, R"({"num_key_value_heads":3})", kInvalid, "not a multiple of 3"},
    {"ragged_head_dim", kLlama, R"({"head_dim":null,"hidden_size":66})", kInvalid,
     "head_dim is missing"},
    {"odd_head_dim", kLlama, R"({"head_dim":15})", kInvalid, "head_dim 15 is odd"},
    {"huge_head_dim", kLlama, R"({"head_dim":16777216})", kInvalid, "times head_dim"},
    {"no_context", kLlama, R"({"max_position_embeddings":null})", kInvalid,
     "max_position_embeddings is missing"},
    {"negative_eps", kLlama, R"({"rms_norm_eps":-1})", kInvalid, "epsilon"},
    {"eps_as_text", kLlama, R"({"rms_norm_eps":"x"})", kInvalid, "rms_norm_eps is not a number"},
    {"tie_as_number", kLlama, R"({"tie_word_embeddings":1})", kInvalid, "true or false"},
    {"zero_theta", kLlama, R"({"rope_theta":0})", kInvalid, "RoPE base"},
    {"rope_as_text", kLlama, R"({"rope_scaling":"linear"})", kInvalid,
     "rope_scaling is not an object"},
    {"rope_per_layer", kLlama, R"({"rope_parameters":{"full_attention":{"rope_type":"default"}}})",
     kUnsupported, "RoPE per kind of layer"},
    {"rope_type", kLlama, R"({"rope_scaling":{"type":"longrope"}})", kUnsupported, "longrope"},
    {"rope_no_factor", kLlama, R"({"rope_scaling":{"type":"linear"}})", kInvalid,
     "factor is missing"},
    {"rope_small_factor", kLlama, R"({"rope_scaling":{"type":"linear","factor":0.5}})", kInvalid,
     "below 1"},
    {"rope_zero_factor", kLlama, R"({"rope_scaling":{"type":"linear","factor":0}})", kInvalid,
     "not above 0"},
    {"llama3_no_original", kLlama, R"({"rope_scaling":{"type":"llama3","factor":8}})", kInvalid,
     "original_max_position_embeddings"},
    {"llama3_no_low", kLlama,
     R"({"rope_scaling":{"type":"llama3","factor":8,"original_max_position_embeddings":64}})",
     kInvalid, "low_freq_factor is missing"},
    {"llama3_reversed", kLlama,
     R"({"rope_scaling":{"type":"llama3","factor":8,"original_max_position_embeddings":64,
         "low_freq_factor":4,"high_freq_factor":1}})",
     kInvalid, "not below high_freq_factor"},
    {"yarn_betas", kLlama,
     R"({"rope_scaling":{"type":"yarn","factor":8,"beta_fast":1,"beta_slow":2}})", kInvalid,
     "beta_slow"},
};

INSTANTIATE_TEST_SUITE_P(Values, HfConfigRefusal, testing::ValuesIn(kRefusals),
                         [](const auto& info) { return std::string(info.param.name); });

std::vector<int32_t> eos_ids(const char* text) {
  const json object = json::parse(text);
  return read_eos_ids(JsonObject(object, "config.json"));
}

TEST(HfConfig, ReadsEndIds) {
  EXPECT_THAT(eos_ids(R"({"eos_token_id":7})"), ElementsAre(7));
  EXPECT_THAT(eos_ids(R"({"eos_token_id":[7,9]})"), ElementsAre(7, 9));
  EXPECT_TRUE(eos_ids(R"({"eos_token_id":null})").empty());
  for (const char* bad :
       {R"({"eos_token_id":-1})", R"({"eos_token_id":["a"]})", R"({"eos_token_id":2147483648})"}) {
    expect_error(kInvalid, "eos_token_id", [&] { static_cast<void>(eos_ids(bad)); });
  }
}

}  // namespace
}  // namespace lychee::io
