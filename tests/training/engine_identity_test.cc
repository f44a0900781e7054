// Gates at exactly 0 or 1 compute what the exported plan computes in the engine (algorithm.md,
// section 5, 6).
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "kernels/linear/linear.h"
#include "lychee/engine.h"
#include "support/tiny_models.h"
#include "training/cpu_backend.h"
#include "training/distillation.h"

namespace lychee::training {
namespace {

constexpr int64_t kContext = 90;
constexpr int64_t kTarget = 20;
constexpr Selection kSelection = {.budget = 24, .sink = 3, .recent = 5};

std::vector<double> gates_of(const HeadPlan& plan) {
  std::vector<double> z;
  for (int layer = 0; layer < plan.num_layers(); ++layer) {
    for (int head = 0; head < plan.num_kv_heads(); ++head) {
      z.push_back(plan.role(layer, head) == HeadRole::kRetrieval ? 1 : 0);
    }
  }
  return z;
}

// Logits of all rows from the student's final hidden states.
std::vector<float> logits_of(const model::LinearWeights& head, std::span<const float> hidden,
                             int64_t rows) {
  std::vector<float> logits(static_cast<size_t>(rows * head.out_features));
  linear::LinearParams p{rows,
                         head.in_features,
                         head.out_features,
                         hidden.data(),
                         head.in_features,
                         head.dtype,
                         head.weight,
                         nullptr,
                         logits.data(),
                         head.out_features,
                         false,
                         true,
                         nullptr};
  std::vector<std::byte> workspace(static_cast<size_t>(linear::cpu::linear_workspace_bytes(p)));
  p.workspace = workspace.data();
  linear::cpu::linear(p);
  return logits;
}

class EngineIdentityTest : public testing::TestWithParam<test::TinyModel> {};

TEST_P(EngineIdentityTest, DecidedGatesAreTheExportedPlan) {
  const test::TinyModel& model = GetParam();
  const std::string folder = test::write_tiny_model(model).string();
  const std::vector<int32_t> tokens = test::random_tokens(model, kContext + kTarget, 3);
  const HeadPlan plan = HeadPlan::uniform(model.num_layers, model.num_kv_heads,
                                          model.num_kv_heads + model.num_layers / 2);

  const io::ModelFiles files = io::open_model(folder);
  const model::ModelWeights weights = model::load_weights(files);
  CpuBackend backend(weights);
  Distillation<float> student(files.config, backend,
                              {.loss = Loss::kLogits,
                               .selection = kSelection,
                               .max_context = kContext,
                               .max_target = kTarget});
  student.set_context(std::span(tokens).first(kContext));
  student.set_target(std::span(tokens).last(kTarget), std::vector<uint8_t>(kTarget, 1));
  ASSERT_GT(student.run(gates_of(plan)).loss, 1e-4);  // the plan must matter
  const std::vector<float> expected = logits_of(weights.lm_head, student.hidden(), kTarget);

  Engine engine({.model = folder,
                 .kv_dtype = KvDtype::kF32,
                 .exact = true,
                 .threads = 1,
                 .load_tokenizer = false});
  GenerationOptions options;
  options.policy = Policy::kHybrid;
  options.head_plan = std::make_shared<HeadPlan>(plan);
  options.selection = kSelection;
  options.dense_below = 0;
  Sequence sequence = engine.create_sequence(options);
  engine.prefill(sequence, std::span(tokens).first(kContext));
  for (int64_t row = 0; row < kTarget; ++row) {
    engine.decode(sequence, tokens[static_cast<size_t>(kContext + row)]);
    const std::span<const float> actual = sequence.logits();
    for (int i = 0; i < model.vocab_size; ++i) {
      ASSERT_NEAR(actual[static_cast<size_t>(i)],
                  expected[static_cast<size_t>(row * model.vocab_size + i)], 2e-3)
          << "row " << row << ", token " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryModel, EngineIdentityTest,
                         testing::ValuesIn(test::tiny_models().begin(), test::tiny_models().end()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace lychee::training
