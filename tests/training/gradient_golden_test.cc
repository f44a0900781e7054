// Loss and gradients of the student against PyTorch's autograd (tools/gradient_golden.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "backends.h"
#include "kernels/cpu/threads.h"
#include "training/distillation.h"
#include "training/hard_kuma.h"

namespace lychee::training {
namespace {

using Json = nlohmann::json;

class GradientGoldenTest : public testing::TestWithParam<const char*> {
 protected:
  GradientGoldenTest()
      : folder_(std::filesystem::path(LYCHEE_SOURCE_DIR) / "tests/data/gradients" / GetParam()),
        files_(io::open_model(folder_.string())),
        weights_(model::load_weights(files_)) {
    std::ifstream file(folder_ / "golden.json");
    golden_ = Json::parse(file);
    cpu::set_num_threads(1);
  }

  template <typename Real>
  [[nodiscard]] DistillationResult run(const model::ModelWeights& weights,
                                       const test::MakeBackend<Real>& make,
                                       const Json& expected) const {
    const auto context = golden_["context"].get<std::vector<int32_t>>();
    const auto target = golden_["target"].get<std::vector<int32_t>>();
    const std::unique_ptr<Backend<Real>> backend = make(weights);
    Distillation<Real> distillation(files_.config, *backend,
                                    {.loss = *parse_loss(expected["loss"].get<std::string>()),
                                     .chain = *parse_chain(expected["chain"].get<std::string>()),
                                     .selection = {.budget = golden_["budget"],
                                                   .sink = golden_["sink"],
                                                   .recent = golden_["recent"]},
                                     .max_context = std::ssize(context),
                                     .max_target = std::ssize(target)});
    distillation.set_context(context);
    distillation.set_target(target, golden_["answers"].get<std::vector<uint8_t>>());
    std::vector<double> z(golden_["alpha"].size(), 1);
    for (size_t i = first_gate(); i < z.size(); ++i) {
      z[i] = sample(i).value;
    }
    return distillation.run(z);
  }

  [[nodiscard]] size_t first_gate() const {
    return static_cast<size_t>(files_.config.num_kv_heads);
  }
  [[nodiscard]] KumaValue sample(size_t gate) const {
    return hard_kuma_sample({golden_["alpha"][gate], golden_["beta"][gate]}, golden_["u"][gate]);
  }

  // Errors within `tolerance` of the loss, and of each gradient or, where that is small, of a share
  // `floor` of the largest.
  void expect_close(const DistillationResult& actual, const Json& expected, double tolerance,
                    double floor) const {
    const double loss = expected["value"];
    EXPECT_NEAR(actual.loss, loss, tolerance * loss);
    const char* const names[] = {"d_alpha", "d_beta"};
    double largest = 0;
    for (const char* name : names) {
      for (const double value : expected[name]) {
        largest = std::max(largest, std::fabs(value));
      }
    }
    ASSERT_GT(largest, 0);
    for (size_t gate = first_gate(); gate < actual.d_z.size(); ++gate) {
      for (size_t which = 0; which < 2; ++which) {
        const double value = expected[names[which]][gate];
        EXPECT_NEAR(actual.d_z[gate] * sample(gate).gradient[which], value,
                    tolerance * std::max(std::fabs(value), floor * largest))
            << names[which] << " of gate " << gate;
      }
    }
  }

  std::filesystem::path folder_;
  io::ModelFiles files_;
  model::ModelWeights weights_;
  Json golden_;
};

TEST_P(GradientGoldenTest, OfGateParametersMatchAutograd) {
  ASSERT_EQ(golden_["cases"].size(), 6);
  const model::ModelWeights wide = model::load_weights(files_, DType::kF32);  // the same values
  for (const Json& expected : golden_["cases"]) {
    SCOPED_TRACE(expected["loss"].get<std::string>() + " " + expected["chain"].get<std::string>());
    expect_close(run<double>(weights_, test::reference_backend, expected), expected, 1e-5, 1e-3);
    expect_close(run<float>(weights_, test::cpu_backend, expected), expected, 1e-4, 1);
    for (const test::FloatBackend& backend : test::exact_backends()) {
      SCOPED_TRACE(backend.name);
      expect_close(run<float>(wide, backend.make, expected), expected, backend.tolerance, 1);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryArchitecture, GradientGoldenTest,
                         testing::Values("llama", "mistral", "qwen2", "qwen3"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace lychee::training
