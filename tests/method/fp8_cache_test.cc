// A KV cache of 8-bit floats on the GPU: its scales fit heads of any magnitude.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "base/check.h"
#include "method/runs.h"
#include "support/expect_error.h"
#include "support/tiny_model.h"
#include "tensor/device.h"

namespace lychee::test {
namespace {

constexpr int64_t kPrompt = 150;
constexpr int64_t kSteps = 8;

io::ModelConfig config_of(int head_dim, int vocab_size) {
  io::ModelConfig config = tiny_config();
  config.head_dim = head_dim;
  config.vocab_size = vocab_size;
  return config;
}

WriterTensor& tensor_of(std::vector<WriterTensor>& weights, const std::string& name) {
  const auto it = std::find_if(weights.begin(), weights.end(),
                               [&](const WriterTensor& tensor) { return tensor.name == name; });
  require(it != weights.end(), ErrorCode::kInternal, "no tensor ", name);
  return *it;
}

// Multiplies elements [row_begin, row_end) x [column_begin, column_end) of an F32 matrix.
void multiply(WriterTensor& matrix, int64_t row_begin, int64_t row_end, int64_t column_begin,
              int64_t column_end, float factor) {
  for (int64_t row = row_begin; row < row_end; ++row) {
    for (int64_t column = column_begin; column < column_end; ++column) {
      std::byte* at =
          matrix.data.data() + (row * matrix.shape[1] + column) * int64_t{sizeof(float)};
      float value = 0;
      std::memcpy(&value, at, sizeof(value));
      value *= factor;
      std::memcpy(at, &value, sizeof(value));
    }
  }
}

// K and V of head 0 become 1024 times as large, those of head 1 as much smaller; queries and the
// output projection make up for it, so that the model computes what it did.
std::vector<WriterTensor> with_uneven_heads(std::vector<WriterTensor> weights,
                                            const io::ModelConfig& config) {
  const int64_t group = config.num_q_heads / config.num_kv_heads;
  const int64_t dim = config.head_dim;
  const int64_t hidden = config.hidden_size;
  for (int layer = 0; layer < config.num_layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".self_attn.";
    for (int64_t head = 0; head < config.num_kv_heads; ++head) {
      const float factor = head == 0 ? 1024.0F : 1 / 1024.0F;
      for (const char* name : {"k_proj.weight", "v_proj.weight"}) {
        multiply(tensor_of(weights, prefix + name), head * dim, (head + 1) * dim, 0, hidden,
                 factor);
      }
      multiply(tensor_of(weights, prefix + "q_proj.weight"), head * group * dim,
               (head + 1) * group * dim, 0, hidden, 1 / factor);
      multiply(tensor_of(weights, prefix + "o_proj.weight"), 0, hidden, head * group * dim,
               (head + 1) * group * dim, 1 / factor);
    }
  }
  return weights;
}

EngineOptions engine_options(const std::filesystem::path& model, Device device, KvDtype kv_dtype) {
  EngineOptions options;
  options.model = model.string();
  options.device = device;
  options.kv_dtype = kv_dtype;
  options.exact = true;
  options.threads = 1;
  options.max_cache_tokens = 4096;
  return options;
}

// Mean KL(a‖b) of the rows of two runs.
double mean_divergence(const LogProbs& a, const LogProbs& b) {
  double sum = 0;
  for (size_t row = 0; row < a.size(); ++row) {
    for (size_t id = 0; id < a[row].size(); ++id) {
      sum += std::exp(a[row][id]) * (a[row][id] - b[row][id]);
    }
  }
  return sum / static_cast<double>(a.size());
}

std::vector<int32_t> ids_below(int vocab_size, int64_t count) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i) {
    ids.push_back(static_cast<int32_t>((11 + 7 * i + i * i / 5) % vocab_size));
  }
  return ids;
}

// Head dimensions of the plain kernels and of those with tensor cores.
class Fp8CacheTest : public testing::TestWithParam<int> {
 protected:
  // Log-probabilities of the last prompt token's successors and of each step.
  LogProbs run_on_gpu(const std::string& model, KvDtype kv_dtype, Policy policy,
                      const std::vector<int32_t>& ids) {
    Engine engine(engine_options(folder_.path() / model, Device::kCuda, kv_dtype));
    GenerationOptions options;
    options.policy = policy;
    options.selection = Selection{.budget = 64, .sink = 8, .recent = 16};
    return run(engine, options, ids, std::ssize(ids) - kSteps);
  }
  void write(const std::string& name, const io::ModelConfig& config,
             const std::vector<WriterTensor>& weights) {
    write_hf_folder(folder_.path() / name, config, weights);
  }

  TemporaryFolder folder_;
};

TEST_P(Fp8CacheTest, ScalesFitHeadsOfAnyMagnitude) {
  const io::ModelConfig config = config_of(GetParam(), 96);
  const std::vector<WriterTensor> weights = tiny_weights(config);
  write("even", config, weights);
  write("uneven", config, with_uneven_heads(weights, config));
  if (!cuda_available()) {
    expect_error(ErrorCode::kUnsupported, "fp8", [&] {
      Engine engine(engine_options(folder_.path() / "even", Device::kCpu, KvDtype::kFP8));
    });
    return;
  }
  const std::vector<int32_t> ids = ids_below(96, kPrompt + kSteps);
  for (const Policy policy : {Policy::kDense, Policy::kStreaming, Policy::kPageBound}) {
    SCOPED_TRACE(policy_name(policy));
    const LogProbs exact = run_on_gpu("uneven", KvDtype::kF32, policy, ids);
    const LogProbs bf16 = run_on_gpu("uneven", KvDtype::kBF16, policy, ids);
    const LogProbs even = run_on_gpu("even", KvDtype::kFP8, policy, ids);
    const LogProbs uneven = run_on_gpu("uneven", KvDtype::kFP8, policy, ids);
    const std::string name(policy_name(policy));
    RecordProperty("kl_bf16_" + name, std::to_string(mean_divergence(exact, bf16)));
    RecordProperty("kl_fp8_" + name, std::to_string(mean_divergence(exact, uneven)));
    // Factors of two are exact throughout, so magnitudes change nothing but the rounding of sums.
    EXPECT_LE(worst_difference(uneven, even), 1e-3);
    if (policy == Policy::kPageBound) {
      continue;  // rounding moves pages into sets and out of them, too
    }
    // e4m3 keeps 4 bits of a value where bf16 keeps 8: errors 16 times as large, and KL, which goes
    // with their square, 256 times.
    EXPECT_LE(mean_divergence(exact, uneven), 4 * 256 * mean_divergence(exact, bf16));
    EXPECT_LE(mean_divergence(exact, uneven), 0.01);
  }
}

// A token that the scales know nothing of, with K and V a hundred times beyond their range.
TEST_P(Fp8CacheTest, OutliersSaturate) {
  constexpr int kVocabSize = 4096;
  const io::ModelConfig config = config_of(GetParam(), kVocabSize);
  std::vector<WriterTensor> weights = tiny_weights(config);
  constexpr int32_t kOutliers[] = {1000, 1001};
  // Their embeddings alone reach through the first dimension, and that far.
  WriterTensor& embedding = tensor_of(weights, "model.embed_tokens.weight");
  multiply(embedding, 0, kVocabSize, 0, 1, 0);
  for (const int32_t id : kOutliers) {
    const float one = 1;
    std::memcpy(embedding.data.data() + int64_t{id} * config.hidden_size * int64_t{sizeof(float)},
                &one, sizeof(one));
  }
  for (const char* name : {"k_proj.weight", "v_proj.weight"}) {
    WriterTensor& matrix = tensor_of(weights, std::string("model.layers.0.self_attn.") + name);
    multiply(matrix, 0, matrix.shape[0], 0, 1, 1e4F);
  }
  write("outlier", config, weights);
  if (!cuda_available()) {
    return;  // the CPU has no such cache, as the test above shows
  }
  std::vector<int32_t> ids = ids_below(kVocabSize, kPrompt + kSteps);
  ids[20] = kOutliers[0];
  ids[kPrompt + 2] = kOutliers[1];
  for (const Policy policy : {Policy::kDense, Policy::kPageBound}) {
    for (const auto& row : run_on_gpu("outlier", KvDtype::kFP8, policy, ids)) {
      double sum = 0;
      for (const double log_prob : row) {
        ASSERT_TRUE(std::isfinite(log_prob)) << policy_name(policy);
        sum += std::exp(log_prob);
      }
      EXPECT_NEAR(sum, 1, 1e-4);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(HeadDims, Fp8CacheTest, testing::Values(16, 64));

}  // namespace
}  // namespace lychee::test
