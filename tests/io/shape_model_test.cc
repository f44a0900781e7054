// Random models in the shape of known ones.

#include "io/shape/shape_model.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace lychee::io {
namespace {

TEST(ShapeModel, HasEveryTensorInTheWantedDtype) {
  const ModelFiles files = make_shape_model("shape:tiny", DType::kQ4_0);
  const ModelConfig& config = files.config;
  int64_t bytes = 0;
  for (const auto& [name, tensor] : files.tensors) {
    bytes += tensor.bytes();
    ASSERT_NE(tensor.data, nullptr) << name;
  }
  EXPECT_EQ(files.weight_bytes, bytes);
  EXPECT_EQ(files.tensors.size(), static_cast<size_t>(3 + 9 * config.num_layers));
  const TensorView& up = files.tensors.at("model.layers.3.mlp.up_proj.weight");
  EXPECT_EQ(up.dtype, DType::kQ4_0);
  EXPECT_EQ(up.shape, (std::vector<int64_t>{config.intermediate_size, config.hidden_size}));
  EXPECT_EQ(files.tensors.at("model.embed_tokens.weight").dtype, DType::kBF16);
}

TEST(ShapeModel, WeightsAreNoiseOfASensibleSize) {
  const ModelFiles files = make_shape_model("shape:tiny", DType::kBF16);
  const TensorView& q = files.tensors.at("model.layers.0.self_attn.q_proj.weight");
  const auto* values = reinterpret_cast<const bf16*>(q.data);
  double sum = 0;
  for (int64_t i = 0; i < q.count(); ++i) {
    const auto value = static_cast<float>(values[i]);
    EXPECT_GE(std::abs(value), 1.0F / 128);
    EXPECT_LT(std::abs(value), 1.0F / 64);
    sum += value;
  }
  EXPECT_LT(std::abs(sum) / static_cast<double>(q.count()), 1e-4);
}

TEST(ShapeModel, KnowsTheFamiliesPeculiarities) {
  EXPECT_TRUE(shape_config("shape:qwen3-8b").qk_norm);
  EXPECT_TRUE(shape_config("shape:qwen2.5-7b").attention_bias);
  EXPECT_TRUE(shape_config("shape:smollm2-135m").tie_word_embeddings);
  EXPECT_FALSE(shape_config("shape:llama3-8b").tie_word_embeddings);
  test::expect_error(ErrorCode::kInvalidArgument, "llama3-8b",
                     [] { (void)shape_config("shape:gpt2"); });
}

}  // namespace
}  // namespace lychee::io
