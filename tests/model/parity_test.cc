// The engine in exact arithmetic against Hugging Face transformers (tools/golden.py).

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "lychee/engine.h"
#include "support/golden.h"

namespace lychee {
namespace {

using test::Golden;

constexpr double kTolerance = 1e-4;

struct Case {
  const char* name;
  bool gguf;  // the folder also holds the model as a GGUF file
};

void PrintTo(const Case& value, std::ostream* out) {
  *out << value.name;
}

Engine open_exact(const std::filesystem::path& model, int prefill_chunk = 512) {
  EngineOptions options;
  options.model = model.string();
  options.device = Device::kCpu;
  options.kv_dtype = KvDtype::kF32;
  options.exact = true;
  options.threads = 1;
  options.max_cache_tokens = 1024;
  options.prefill_chunk = prefill_chunk;
  options.load_tokenizer = false;
  return Engine(options);
}

std::vector<double> log_softmax(std::span<const float> logits) {
  double highest = -INFINITY;
  for (const float logit : logits) {
    highest = std::max(highest, double{logit});
  }
  double sum = 0;
  for (const float logit : logits) {
    sum += std::exp(double{logit} - highest);
  }
  std::vector<double> result;
  for (const float logit : logits) {
    result.push_back(double{logit} - highest - std::log(sum));
  }
  return result;
}

// Log-probabilities after every prompt token, [tokens, vocab].
std::vector<std::vector<double>> prefill_rows(Engine& engine, Sequence& sequence,
                                              std::span<const int32_t> tokens) {
  std::vector<std::vector<double>> rows(tokens.size());
  engine.prefill(sequence, tokens, {}, [&](int64_t position, std::span<const float> logits) {
    rows.at(static_cast<size_t>(position)) = log_softmax(logits);
  });
  return rows;
}

double worst_difference(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double difference = std::fabs(a[i] - b[i]);
    worst = difference <= worst ? worst : difference;  // NaN is worst
  }
  return worst;
}

class Parity : public testing::TestWithParam<Case> {
 protected:
  static void check_prefill(const std::filesystem::path& model, const Golden& golden, int chunk) {
    Engine engine = open_exact(model, chunk);
    Sequence sequence = engine.create_sequence({});
    const auto rows = prefill_rows(engine, sequence, golden.tokens);
    for (size_t i = 0; i + 1 < golden.tokens.size(); ++i) {
      const auto next = static_cast<size_t>(golden.tokens[i + 1]);
      ASSERT_NEAR(rows[i].at(next), golden.next_prefill[i], kTolerance)
          << model << ", position " << i << ", chunk " << chunk;
    }
    for (size_t i = 0; i < golden.rows.size(); ++i) {
      const auto position = static_cast<size_t>(golden.row_positions[i]);
      EXPECT_LE(worst_difference(rows[position], golden.rows[i]), kTolerance)
          << model << ", position " << position << ", chunk " << chunk;
    }
  }

  static void check_decode(const std::filesystem::path& model, const Golden& golden) {
    Engine engine = open_exact(model);
    Sequence sequence = engine.create_sequence({});
    const auto from = static_cast<size_t>(golden.decode_from);
    engine.prefill(sequence, std::span(golden.tokens).first(from));
    for (size_t i = from; i < golden.tokens.size(); ++i) {
      engine.decode(sequence, golden.tokens[i]);
      if (i + 1 < golden.tokens.size()) {
        ASSERT_NEAR(sequence.log_prob(golden.tokens[i + 1]), golden.next_decode[i - from],
                    kTolerance)
            << model << ", position " << i;
      }
    }
    EXPECT_LE(worst_difference(log_softmax(sequence.logits()), golden.last_decode_row), kTolerance)
        << model;
  }
};

TEST_P(Parity, PrefillOfFolderMatchesTransformers) {
  const auto folder = test::golden_model(GetParam().name);
  const Golden golden = test::read_golden(folder);
  ASSERT_EQ(golden.tokens.size(), 96U);
  ASSERT_EQ(golden.rows.size(), 12U);
  check_prefill(folder, golden, 512);
  check_prefill(folder, golden, 7);
}

TEST_P(Parity, DecodeOfFolderMatchesTransformers) {
  const auto folder = test::golden_model(GetParam().name);
  check_decode(folder, test::read_golden(folder));
}

TEST_P(Parity, GgufMatchesTransformers) {
  const auto folder = test::golden_model(GetParam().name);
  EXPECT_EQ(GetParam().gguf, std::filesystem::exists(folder / "model.gguf"));
  if (GetParam().gguf) {
    const Golden golden = test::read_golden(folder);
    check_prefill(folder / "model.gguf", golden, 512);
    check_decode(folder / "model.gguf", golden);
  }
}

TEST_P(Parity, FolderAndGgufGiveTheSameLogits) {
  if (!GetParam().gguf) {
    return;
  }
  const auto folder = test::golden_model(GetParam().name);
  const Golden golden = test::read_golden(folder);
  Engine from_folder = open_exact(folder);
  Engine from_gguf = open_exact(folder / "model.gguf");
  Sequence a = from_folder.create_sequence({});
  Sequence b = from_gguf.create_sequence({});
  const auto rows_a = prefill_rows(from_folder, a, golden.tokens);
  const auto rows_b = prefill_rows(from_gguf, b, golden.tokens);
  for (size_t i = 0; i < rows_a.size(); ++i) {
    // The same weights; RoPE over adjacent pairs and scaled frequencies may round differently.
    ASSERT_LE(worst_difference(rows_a[i], rows_b[i]), 2e-5) << "position " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models, Parity,
    testing::Values(Case{"llama2_mha", false}, Case{"llama3_gqa", false}, Case{"llama_tied", false},
                    Case{"llama31", true}, Case{"llama_linear", true}, Case{"llama_dynamic", false},
                    Case{"llama_yarn", true}, Case{"mistral", false}, Case{"qwen2", false},
                    Case{"qwen2_tied", true}, Case{"qwen3", true}, Case{"qwen3_yarn", false}),
    [](const testing::TestParamInfo<Case>& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace lychee
