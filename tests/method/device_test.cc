// Every device of this machine against the CPU in exact arithmetic: policies, selection modes,
// batches, forks.

#include "tensor/device.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "method/runs.h"

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

TEST_P(DeviceTest, CorrectsTheCacheAsTheCpuDoes) {
  GenerationOptions options = options_of(Policy::kHybrid, SelectMode::kTopK);
  options.cache_correction = 3;
  EXPECT_LE(worst_difference(on_device(options), on_cpu(options)), kTolerance);
}

TEST_P(DeviceTest, RaggedBatchIsEachAlone) {
  const GenerationOptions kinds[] = {{},
                                     options_of(Policy::kHybrid, SelectMode::kTopK),
                                     options_of(Policy::kHybrid, SelectMode::kMass),
                                     options_of(Policy::kStreaming, SelectMode::kTopK)};
  const int64_t lengths[] = {1, 400, 333, 250};
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

}  // namespace
}  // namespace lychee::test
