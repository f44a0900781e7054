// The program on a GPU against the program on the CPU, in exact arithmetic: every policy on every
// model of tests/data/models. Where there is no GPU, --device cuda says what is missing.

#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "cli/program.h"
#include "support/golden.h"
#include "tensor/device.h"

namespace lychee::test {
namespace {

constexpr int kTop = 5;
constexpr int64_t kDecodeFrom = 60;  // of 96 tokens
// Of log-probabilities in f32 on either side, sums in another order. A token at the border of a set
// may fall on either side of it; the models are small enough that none does.
constexpr double kTolerance = 1e-3;

using Model = std::string;
using Flags = std::vector<std::string>;

struct Decoding {
  const char* name;
  Flags flags;
};

const std::vector<Decoding>& decodings() {
  static const std::vector<Decoding> kDecodings = {
      {"dense", {"--policy", "dense"}},
      {"hybrid", {"--policy", "hybrid", "--heads", "PLAN"}},
      {"hybrid_mass",
       {"--policy", "hybrid", "--heads", "PLAN", "--select", "mass", "--select-mass", "0.6"}},
      {"layer_shared", {"--policy", "layer-shared", "--layers", "0"}},
      {"streaming", {"--policy", "streaming"}},
      {"duo", {"--policy", "duo", "--heads", "PLAN"}},
      {"page_bound", {"--policy", "page-bound"}},
  };
  return kDecodings;
}

// A plan in which every head of layer 0 retrieves, and about half of the others.
std::string plan_of(const Model& model) {
  const Json shape = run_json({"inspect", "--model", golden_model(model.c_str()).string()});
  const int layers = shape["layers"].get<int>();
  const int heads = shape["kv_heads"].get<int>();
  return "uniform:" + std::to_string(heads + (layers - 1) * heads / 2);
}

std::string join(const std::vector<int32_t>& ids) {
  std::string text;
  for (const int32_t id : ids) {
    text += std::to_string(id) + ' ';
  }
  return text;
}

class DeviceParityTest : public testing::TestWithParam<Model> {
 protected:
  [[nodiscard]] Flags arguments(const std::string& command, const std::string& device,
                                const Flags& decoding) const {
    Flags all = {command,
                 "--model",
                 golden_model(GetParam().c_str()).string(),
                 "--device",
                 device,
                 "--threads",
                 "1",
                 "--exact",
                 "--kv-dtype",
                 "f32",
                 "--budget",
                 "24",
                 "--sink",
                 "4",
                 "--recent",
                 "8",
                 "--max-cache-tokens",
                 "1024"};
    for (const std::string& flag : decoding) {
      all.push_back(flag == "PLAN" ? plan_ : flag);
    }
    return all;
  }
  void SetUp() override { plan_ = plan_of(GetParam()); }

  // The model's golden text up to where decoding begins, also in the file "ids".
  std::vector<int32_t> write_prompt() {
    std::vector<int32_t> prompt = read_golden(golden_model(GetParam().c_str())).tokens;
    prompt.resize(kDecodeFrom);
    write_text(folder_.path() / "ids", join(prompt));
    return prompt;
  }
  // To that prompt.
  std::vector<int32_t> answer(const char* device, const Flags& decoding, const Flags& sampling) {
    const Flags prompt = {"--token-ids", folder_.path() / "ids", "--max-tokens", "24"};
    return run_json(
               concat(concat(arguments("run", device, decoding), prompt), sampling))["token_ids"]
        .get<std::vector<int32_t>>();
  }

  std::string plan_;
  TemporaryFolder folder_;
};

// Whether the best token is far enough ahead of the second for both to draw it.
bool is_clear(const Json& top) {
  return top[0][1].get<double>() - top[1][1].get<double>() > 2 * kTolerance;
}

void expect_same_scores(const Json& cpu, const Json& cuda) {
  ASSERT_EQ(cuda["top_logprobs"].size(), cpu["top_logprobs"].size());
  for (size_t i = 1; i < cpu["top_logprobs"].size(); ++i) {
    const Json& expected = cpu["top_logprobs"][i];
    const Json& actual = cuda["top_logprobs"][i];
    for (size_t k = 0; k < size_t{kTop}; ++k) {
      EXPECT_NEAR(actual[k][1].get<double>(), expected[k][1].get<double>(), kTolerance)
          << "position " << i << ", rank " << k;
    }
    if (is_clear(expected)) {
      EXPECT_EQ(actual[0][0], expected[0][0]) << "position " << i;
    }
    EXPECT_NEAR(cuda["logprobs"][i].get<double>(), cpu["logprobs"][i].get<double>(), kTolerance)
        << "position " << i;
  }
  EXPECT_NEAR(cuda["kv_read"].get<double>(), cpu["kv_read"].get<double>(), 1e-12);
}

TEST_P(DeviceParityTest, EveryPolicyComputesWhatTheCpuDoes) {
  const Golden golden = read_golden(golden_model(GetParam().c_str()));
  write_text(folder_.path() / "ids", join(golden.tokens));
  if (!cuda_available()) {
    expect_failure(concat(arguments("score", "cuda", {"--policy", "dense"}),
                          {"--token-ids", folder_.path() / "ids"}),
                   2, {"device cuda: "});
    return;
  }
  for (const Decoding& decoding : decodings()) {
    SCOPED_TRACE(decoding.name);
    const auto score = [&](const char* device) {
      return run_json(
          concat(arguments("score", device, decoding.flags),
                 {"--token-ids", folder_.path() / "ids", "--decode-from",
                  std::to_string(kDecodeFrom), "--top-logprobs", std::to_string(kTop)}));
    };
    expect_same_scores(score("cpu"), score("cuda"));
  }
}

TEST_P(DeviceParityTest, GreedyAnswersAreTheCpus) {
  if (!cuda_available()) {
    return;  // the test above sees the error
  }
  const std::vector<int32_t> prompt = write_prompt();
  for (const Decoding& decoding : decodings()) {
    SCOPED_TRACE(decoding.name);
    const std::vector<int32_t> expected = answer("cpu", decoding.flags, {"--temperature", "0"});
    const std::vector<int32_t> actual = answer("cuda", decoding.flags, {"--temperature", "0"});
    const auto differ =
        std::mismatch(expected.begin(), expected.end(), actual.begin(), actual.end());
    if (differ.first == expected.end() && differ.second == actual.end()) {
      continue;
    }
    // They may part where the CPU's two best tokens are too close to tell apart.
    const int64_t same = differ.first - expected.begin();
    std::vector<int32_t> text = prompt;
    text.insert(text.end(), expected.begin(), differ.first + 1);
    write_text(folder_.path() / "parted", join(text));
    const Json score = run_json(concat(arguments("score", "cpu", decoding.flags),
                                       {"--token-ids", folder_.path() / "parted", "--decode-from",
                                        std::to_string(kDecodeFrom), "--top-logprobs", "2"}));
    EXPECT_FALSE(is_clear(score["top_logprobs"].back())) << "answers part after " << same;
  }
}

// A draw near the border of two tokens may fall to either; none of these does.
TEST_P(DeviceParityTest, DrawnAnswersAreTheCpus) {
  if (!cuda_available()) {
    return;
  }
  write_prompt();
  const std::vector<Flags> settings = {
      {"--temperature", "1"},
      {"--temperature", "0.7", "--top-p", "0.9"},
      {"--temperature", "1.5", "--top-k", "5", "--min-p", "0.3"},
      {"--temperature", "1", "--repeat-penalty", "1.3"},
  };
  for (const Flags& sampling : settings) {
    SCOPED_TRACE(testing::PrintToString(sampling));
    EXPECT_EQ(answer("cuda", {"--policy", "dense"}, sampling),
              answer("cpu", {"--policy", "dense"}, sampling));
  }
}

INSTANTIATE_TEST_SUITE_P(Models, DeviceParityTest,
                         testing::Values("llama2_mha", "llama3_gqa", "llama_tied", "llama31",
                                         "llama_linear", "llama_dynamic", "llama_yarn", "mistral",
                                         "qwen2", "qwen2_tied", "qwen3", "qwen3_yarn"),
                         [](const testing::TestParamInfo<Model>& info) { return info.param; });

}  // namespace
}  // namespace lychee::test
