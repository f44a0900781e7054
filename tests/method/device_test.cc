// Every device of this machine against the CPU in exact arithmetic: policies, selection modes,
// batches, forks.

#include "tensor/device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "method/runs.h"
#include "support/model_writer.h"
#include "support/tiny_model.h"

namespace lychee::test {
namespace {

constexpr int64_t kPrompt = 400;
constexpr int64_t kSteps = 5;
// Log-probabilities of a model whose K and V are rounded to bf16: a value on the border between two
// bf16 numbers falls either way, and so may a token at the border of a set.
constexpr double kTolerance = 2e-3;

EngineOptions engine_options(Device device, int prefill_chunk) {
  EngineOptions options;
  options.model = "shape:tiny";
  options.device = device;
  options.exact = true;
  options.threads = 1;
  options.max_cache_tokens = 8192;
  options.prefill_chunk = prefill_chunk;
  return options;
}

std::vector<Device> devices() {
  std::vector<Device> all{Device::kCpu};
  if (cuda_available()) {
    all.push_back(Device::kCuda);
  }
  return all;
}

std::vector<int32_t> random_ids(int64_t count, uint32_t seed) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  uint32_t state = seed;
  for (int32_t& id : ids) {
    state = state * 1664525 + 1013904223;
    id = static_cast<int32_t>(state >> 8) % 512;
  }
  return ids;
}

GenerationOptions options_of(Policy policy, SelectMode mode) {
  GenerationOptions options;
  options.policy = policy;
  if (policy_needs_plan(policy)) {
    options.head_plan = std::make_shared<HeadPlan>(HeadPlan::uniform(4, 2, 4));
  }
  if (policy == Policy::kLayerShared) {
    options.selecting_layers = {1};
  }
  options.selection = {.mode = mode, .budget = 192, .sink = 8, .recent = 16};
  options.selection.threshold = 0.002;
  options.selection.mass = 0.4;
  return options;
}

class DeviceTest : public testing::TestWithParam<Device> {
 protected:
  LogProbs on_cpu(const GenerationOptions& options) {
    return run(cpu_, options, random_ids(kPrompt + kSteps, 3), kPrompt);
  }
  LogProbs on_device(const GenerationOptions& options) {
    return run(device_, options, random_ids(kPrompt + kSteps, 3), kPrompt);
  }

  Engine cpu_{engine_options(Device::kCpu, 512)};
  Engine device_{engine_options(GetParam(), 150)};
};

TEST_P(DeviceTest, ComputesWhatTheCpuDoes) {
  const LogProbs dense = on_cpu({});
  EXPECT_LE(worst_difference(on_device({}), dense), kTolerance);
  for (const Policy policy :
       {Policy::kHybrid, Policy::kLayerShared, Policy::kStreaming, Policy::kDuo}) {
    const GenerationOptions options = options_of(policy, SelectMode::kTopK);
    EXPECT_LE(worst_difference(on_device(options), on_cpu(options)), kTolerance)
        << policy_name(policy);
  }
  for (const SelectMode mode :
       {SelectMode::kBlock, SelectMode::kRatio, SelectMode::kMass, SelectMode::kThreshold}) {
    const GenerationOptions options = options_of(Policy::kHybrid, mode);
    EXPECT_LE(worst_difference(on_device(options), on_cpu(options)), kTolerance)
        << select_mode_name(mode);
  }
  EXPECT_GT(worst_difference(on_cpu(options_of(Policy::kStreaming, SelectMode::kTopK)), dense),
            2 * kTolerance);
}

// A value of K that falls on the other side of a rounding border moves the bounds of a page, and
// one page too many or too few is 16 tokens: rounded caches are compared loosely, and f32 closely.
TEST_P(DeviceTest, RanksPagesAsTheCpuDoes) {
  EngineOptions on_cpu_f32 = engine_options(Device::kCpu, 512);
  on_cpu_f32.kv_dtype = KvDtype::kF32;
  EngineOptions on_device_f32 = engine_options(GetParam(), 150);
  on_device_f32.kv_dtype = KvDtype::kF32;
  Engine cpu(on_cpu_f32);
  Engine device(on_device_f32);
  for (const SelectMode mode : {SelectMode::kTopK, SelectMode::kRatio}) {
    const GenerationOptions options = options_of(Policy::kPageBound, mode);
    const std::vector<int32_t> ids = random_ids(kPrompt + kSteps, 3);
    const LogProbs expected = run(cpu, options, ids, kPrompt);
    EXPECT_LE(worst_difference(run(device, options, ids, kPrompt), expected), 1e-4)
        << select_mode_name(mode);
    EXPECT_LE(worst_difference(on_device(options), on_cpu(options)), 5 * kTolerance)
        << select_mode_name(mode);
  }
}

TEST_P(DeviceTest, CorrectsTheCacheAsTheCpuDoes) {
  GenerationOptions options = options_of(Policy::kHybrid, SelectMode::kTopK);
  options.cache_correction = 3;
  EXPECT_LE(worst_difference(on_device(options), on_cpu(options)), kTolerance);
}

TEST_P(DeviceTest, RaggedBatchIsEachAlone) {
  const GenerationOptions kinds[] = {{},
                                     options_of(Policy::kHybrid, SelectMode::kTopK),
                                     options_of(Policy::kHybrid, SelectMode::kMass),
                                     options_of(Policy::kStreaming, SelectMode::kTopK),
                                     options_of(Policy::kPageBound, SelectMode::kTopK),
                                     options_of(Policy::kPageBound, SelectMode::kRatio)};
  const int64_t lengths[] = {1, 400, 333, 250, 390, 239};
  std::vector<Sequence> together;
  std::vector<Sequence*> batch;
  std::vector<LogProbs> alone;
  for (size_t i = 0; i < std::size(kinds); ++i) {
    const std::vector<int32_t> ids = random_ids(lengths[i] + 1, static_cast<uint32_t>(i));
    alone.push_back(run(device_, kinds[i], ids, lengths[i]));
    together.push_back(device_.create_sequence(kinds[i]));
    device_.prefill(together.back(), std::span(ids).first(static_cast<size_t>(lengths[i])));
  }
  std::vector<int32_t> next;
  for (size_t i = 0; i < std::size(kinds); ++i) {
    batch.push_back(&together[i]);
    next.push_back(random_ids(lengths[i] + 1, static_cast<uint32_t>(i)).back());
  }
  device_.decode(batch, next);
  for (size_t i = 0; i < std::size(kinds); ++i) {
    EXPECT_LE(worst_difference({log_probs_of(together[i])}, alone[i]), 1e-4) << i;
  }
}

TEST_P(DeviceTest, ForksWriteToPagesOfTheirOwn) {
  const std::vector<int32_t> ids = random_ids(100, 9);
  Sequence parent = device_.create_sequence({});
  device_.prefill(parent, ids);
  Sequence child = device_.fork(parent);
  device_.decode(child, 7);
  device_.decode(parent, 8);
  Sequence fresh = device_.create_sequence({});
  device_.prefill(fresh, ids);
  device_.truncate(child, 100);
  device_.decode(child, 8);
  device_.decode(fresh, 8);
  EXPECT_LE(worst_difference({log_probs_of(parent)}, {log_probs_of(fresh)}), 1e-4);
  EXPECT_LE(worst_difference({log_probs_of(child)}, {log_probs_of(fresh)}), 1e-4);
}

// Summaries of pages that a fork shares, that a truncation cuts, and that dense steps wrote to.
TEST_P(DeviceTest, PageSummariesFollowTheirSequence) {
  const GenerationOptions ranked = options_of(Policy::kPageBound, SelectMode::kTopK);
  const std::vector<int32_t> ids = random_ids(330, 4);
  const auto step = [&](Sequence& sequence, int32_t id) {
    device_.decode(sequence, id);
    return LogProbs{log_probs_of(sequence)};
  };
  // After steps of a sequence that shares nothing.
  const auto fresh = [&](const std::vector<int32_t>& steps) {
    Sequence sequence = device_.create_sequence(ranked);
    device_.prefill(sequence, ids);
    return LogProbs{decode_all(device_, sequence, steps).back()};
  };
  Sequence parent = device_.create_sequence(ranked);
  device_.prefill(parent, ids);
  const LogProbs first = step(parent, 1);
  EXPECT_LE(worst_difference(first, fresh({1})), 1e-4);
  Sequence child = device_.fork(parent);
  EXPECT_LE(worst_difference(step(child, 2), fresh({1, 2})), 1e-4);
  EXPECT_LE(worst_difference(step(parent, 3), fresh({1, 3})), 1e-4);
  EXPECT_LE(worst_difference(step(child, 4), fresh({1, 2, 4})), 1e-4);
  // Other tokens where there were summaries already.
  const std::vector<int32_t> others = random_ids(130, 5);
  device_.truncate(child, 200);
  device_.prefill(child, others);
  std::vector<int32_t> mended(ids.begin(), ids.begin() + 200);
  mended.insert(mended.end(), others.begin(), others.end());
  mended.push_back(1);
  EXPECT_LE(worst_difference(step(child, 1), run(device_, ranked, mended, 330)), 1e-4);
  Sequence dense = device_.create_sequence({});
  device_.prefill(dense, std::span(ids).first(300));
  (void)decode_all(device_, dense, std::span(ids).subspan(300));
  Sequence late = device_.fork(dense, ranked);
  EXPECT_LE(worst_difference(step(late, 1), first), kTolerance);
}

TEST_P(DeviceTest, ObservesTheRecallThatTheCpuDoes) {
  using Key = std::tuple<int64_t, int, int>;
  const auto observe = [](Engine& engine, GenerationOptions options) {
    std::map<Key, HeadRecall> seen;
    options.recall_observer = [&](const HeadRecall& recall) {
      EXPECT_TRUE(seen.emplace(Key{recall.position, recall.layer, recall.kv_head}, recall).second);
    };
    (void)run(engine, options, random_ids(kPrompt + kSteps, 3), kPrompt);
    return seen;
  };
  for (const Policy policy : {Policy::kHybrid, Policy::kLayerShared, Policy::kStreaming,
                              Policy::kDuo, Policy::kPageBound}) {
    const GenerationOptions options = options_of(policy, SelectMode::kTopK);
    const std::map<Key, HeadRecall> expected = observe(cpu_, options);
    const std::map<Key, HeadRecall> actual = observe(device_, options);
    ASSERT_GE(expected.size(), size_t{kSteps});
    ASSERT_EQ(actual.size(), expected.size()) << policy_name(policy);
    for (const auto& [key, recall] : expected) {
      ASSERT_TRUE(actual.contains(key)) << policy_name(policy);
      EXPECT_NEAR(actual.at(key).recall, recall.recall, 5e-3) << policy_name(policy);
      EXPECT_EQ(actual.at(key).num_ids, recall.num_ids) << policy_name(policy);
    }
  }
  // Observing changes nothing.
  GenerationOptions observed = options_of(Policy::kHybrid, SelectMode::kTopK);
  const LogProbs plain = on_device(observed);
  observed.recall_observer = [](const HeadRecall&) {};
  EXPECT_EQ(worst_difference(on_device(observed), plain), 0);
}

TEST_P(DeviceTest, GreedyDrawIsTheHighestLogit) {
  Sequence sequence = device_.create_sequence({});
  device_.prefill(sequence, random_ids(50, 2));
  for (int step = 0; step < 4; ++step) {
    const int32_t id = device_.sample(sequence);
    const std::span<const float> logits = sequence.logits();
    EXPECT_EQ(id, std::max_element(logits.begin(), logits.end()) - logits.begin());
    device_.decode(sequence, id);
  }
}

TEST_P(DeviceTest, NoiseIsTheSameEverywhere) {
  const auto decode = [](Engine& engine) {
    Sequence sequence = engine.create_sequence({});
    engine.fill_cache_with_noise(sequence, 300, 5);
    engine.decode(sequence, 1);
    return LogProbs{log_probs_of(sequence)};
  };
  EXPECT_LE(worst_difference(decode(device_), decode(cpu_)), kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Devices, DeviceTest, testing::ValuesIn(devices()),
                         [](const testing::TestParamInfo<Device>& info) {
                           return std::string(info.param == Device::kCuda ? "Cuda" : "Cpu");
                         });

// Feed-forwards unlike the one above: with biases, and with gate and up of two dtypes.
class FeedForwardTest : public testing::TestWithParam<Device> {
 protected:
  // The log-probabilities of a prompt of many rows and of steps of one.
  [[nodiscard]] LogProbs log_probs(Device device, bool exact, bool biases, DType up) const {
    io::ModelConfig config = tiny_config();
    config.mlp_bias = true;
    std::vector<WriterTensor> weights = tiny_weights(config, DType::kF16);
    const std::vector<WriterTensor> others = tiny_weights(config, up);
    for (size_t i = 0; i < weights.size(); ++i) {
      const std::string& name = weights[i].name;
      if (name.find("mlp.up_proj.weight") != std::string::npos) {
        weights[i] = others[i];
      } else if (!biases && name.find("mlp") != std::string::npos && name.ends_with(".bias")) {
        std::fill(weights[i].data.begin(), weights[i].data.end(), std::byte{0});
      }
    }
    const std::filesystem::path file = folder_.path() / "model.gguf";
    write_gguf_file(file, config, weights);
    EngineOptions options = engine_options(device, 512);
    options.model = file.string();
    options.load_tokenizer = false;
    options.kv_dtype = KvDtype::kF32;
    options.exact = exact;
    Engine engine(options);
    std::vector<int32_t> ids = random_ids(40 + kSteps, 12);
    for (int32_t& id : ids) {
      id %= config.vocab_size;
    }
    return run(engine, {}, ids, 40);
  }

 private:
  TemporaryFolder folder_;
};
INSTANTIATE_TEST_SUITE_P(Devices, FeedForwardTest, testing::ValuesIn(devices()),
                         [](const testing::TestParamInfo<Device>& info) {
                           return std::string(info.param == Device::kCuda ? "Cuda" : "Cpu");
                         });

TEST_P(FeedForwardTest, TakesBiasesAndTwoDtypes) {
  for (const DType up : {DType::kF16, DType::kQ8_0}) {
    const LogProbs expected = log_probs(Device::kCpu, true, true, up);
    const double without = worst_difference(log_probs(Device::kCpu, true, false, up), expected);
    EXPECT_LE(worst_difference(log_probs(GetParam(), true, true, up), expected), kTolerance);
    // Rounding activations moves them by far less than the biases do.
    EXPECT_LE(worst_difference(log_probs(GetParam(), false, true, up), expected), without / 8);
  }
}

// On a GPU long prompts take kernels of their own, activations rounded in between: as good as rows
// that go a few at a time through the kernels of decode steps, which round as much.
class LongPromptTest : public testing::TestWithParam<Device> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(LongPromptTest);
INSTANTIATE_TEST_SUITE_P(Cuda, LongPromptTest,
                         testing::ValuesIn(cuda_available() ? std::vector<Device>{Device::kCuda}
                                                            : std::vector<Device>{}));

TEST_P(LongPromptTest, IsAsGoodAsFewRows) {
  constexpr int64_t kLong = 6000;  // in one chunk enough for cuDNN
  const std::vector<int32_t> ids = random_ids(kLong + kSteps, 11);
  const auto log_probs = [&](Device device, bool exact, int chunk) {
    EngineOptions options = engine_options(device, chunk);
    options.exact = exact;
    options.threads = 0;
    Engine engine(options);
    return run(engine, {}, ids, kLong);
  };
  const LogProbs exact = log_probs(Device::kCpu, true, 512);
  const double few = worst_difference(log_probs(GetParam(), false, 16), exact);
  for (const int chunk : {6000, 1500, 100}) {
    EXPECT_LE(worst_difference(log_probs(GetParam(), false, chunk), exact), 2 * few + kTolerance)
        << "chunks of " << chunk;
  }
  EXPECT_LT(few, 0.5);
}

}  // namespace
}  // namespace lychee::test
