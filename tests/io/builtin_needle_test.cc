#include "io/needle/builtin_needle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <set>
#include <sstream>

#include "io/needle/builtin_needle_codes.h"
#include "io/needle_oracle.h"
#include "lychee/error.h"

namespace lychee::io {
namespace {

using ::testing::HasSubstr;

TEST(BuiltinNeedle, MatchCodesAreApart) {
  const auto codes = match_codes();
  ASSERT_EQ(codes.size(), kNeedleVocabulary);
  for (size_t a = 0; a < codes.size(); ++a) {
    for (size_t b = 0; b < codes.size(); ++b) {
      const double cosine =
          std::inner_product(codes[a].begin(), codes[a].end(), codes[b].begin(), 0.0);
      const double limit = a == b ? 1 : a < 24 && b < 24 ? 0.5 : 0.8090169944;
      EXPECT_LE(cosine, limit + 1e-9) << a << " " << b;
      if (a == b) {
        EXPECT_GE(cosine, 1 - 1e-9);
      }
    }
  }
}

TEST(BuiltinNeedle, HadamardRowsAreOrthogonal) {
  for (int a = 0; a < kPayloadDims; ++a) {
    for (int b = 0; b < kPayloadDims; ++b) {
      int dot = 0;
      for (int i = 0; i < kPayloadDims; ++i) {
        dot += hadamard(a, i) * hadamard(b, i);
      }
      EXPECT_EQ(dot, a == b ? kPayloadDims : 0);
    }
  }
}

TEST(BuiltinNeedle, VocabularyHasNoWordTwice) {
  const auto words = builtin_needle_vocabulary();
  EXPECT_EQ(std::set<std::string_view>(words.begin(), words.end()).size(), kNeedleVocabulary);
  EXPECT_EQ(words[0], "<unk>");
  EXPECT_EQ(words[1], "</s>");
}

TEST(BuiltinNeedle, ReadsItsParameters) {
  EXPECT_TRUE(is_builtin_model("builtin:needle"));
  EXPECT_TRUE(is_builtin_model("builtin:haystack"));
  EXPECT_FALSE(is_builtin_model("needle.gguf"));
  const NeedleSpec plain = parse_needle_spec("builtin:needle");
  EXPECT_EQ(plain.layers, 6);
  EXPECT_EQ(plain.kv_heads, 4);
  EXPECT_EQ(plain.layer, 3);
  EXPECT_EQ(plain.head, 1);
  EXPECT_EQ(plain.distractors, 2);
  EXPECT_EQ(plain.group, 1);
  const NeedleSpec other =
      parse_needle_spec("builtin:needle?layers=9&kv_heads=2&layer=7&head=0&distractors=12&group=3");
  EXPECT_EQ(other.layers, 9);
  EXPECT_EQ(other.kv_heads, 2);
  EXPECT_EQ(other.layer, 7);
  EXPECT_EQ(other.head, 0);
  EXPECT_EQ(other.distractors, 12);
  EXPECT_EQ(other.group, 3);
}

TEST(BuiltinNeedle, RefusesBadParametersByName) {
  const std::pair<const char*, const char*> cases[] = {
      {"needle", "builtin:needle"},
      {"builtin:haystack", "'haystack'"},
      {"builtin:", "''"},
      {"builtin:needle?layers", "'layers' is not key=value"},
      {"builtin:needle?depth=3", "'depth'"},
      {"builtin:needle?layers=six", "layers='six'"},
      {"builtin:needle?layers=6x", "layers='6x'"},
      {"builtin:needle?layers=", "layers=''"},
      {"builtin:needle?layers=99999999999999999999", "layers='9"},
      {"builtin:needle?layers=3", "layers=3 is outside 4…64"},
      {"builtin:needle?layers=65", "layers=65"},
      {"builtin:needle?kv_heads=1", "kv_heads=1 is outside 2…32"},
      {"builtin:needle?kv_heads=33", "kv_heads=33"},
      {"builtin:needle?layer=1", "layer=1 is outside 2…4"},
      {"builtin:needle?layer=5", "layer=5"},
      {"builtin:needle?head=4", "head=4 is outside 0…3"},
      {"builtin:needle?head=-1", "head=-1"},
      {"builtin:needle?distractors=17", "distractors=17 is outside 0…16"},
      {"builtin:needle?group=0", "group=0 is outside 1…8"},
      {"builtin:needle?group=9", "group=9"},
  };
  for (const auto& [model, part] : cases) {
    try {
      static_cast<void>(make_builtin_needle(model));
      ADD_FAILURE() << model << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      EXPECT_THAT(error.what(), HasSubstr(part));
    }
  }
}

TEST(BuiltinNeedle, TensorsAndConfigAgree) {
  const ModelFiles files = make_builtin_needle("builtin:needle?group=2&kv_heads=3&head=2");
  EXPECT_EQ(files.config.num_q_heads, 6);
  EXPECT_EQ(files.tensors.size(), 3U + 6 * 9);
  const auto shape = [&](const char* name) { return files.tensors.at(name).shape; };
  EXPECT_THAT(shape("model.layers.5.self_attn.q_proj.weight"), testing::ElementsAre(192, 128));
  EXPECT_THAT(shape("model.layers.5.self_attn.v_proj.weight"), testing::ElementsAre(96, 128));
  EXPECT_THAT(shape("model.layers.5.self_attn.o_proj.weight"), testing::ElementsAre(128, 192));
  EXPECT_THAT(shape("model.layers.5.mlp.down_proj.weight"), testing::ElementsAre(128, 32));
  EXPECT_THAT(shape("lm_head.weight"), testing::ElementsAre(120, 128));
  int64_t bytes = 0;
  for (const auto& [name, tensor] : files.tensors) {
    EXPECT_EQ(tensor.dtype, DType::kF32);
    bytes += tensor.bytes();
  }
  EXPECT_EQ(bytes, files.weight_bytes);
  ASSERT_TRUE(files.tokenizer.has_value());
  EXPECT_EQ(files.tokenizer->tokens.size(), kNeedleVocabulary);
}

TEST(BuiltinNeedle, IsTheSameEveryTime) {
  const ModelFiles a = make_builtin_needle("builtin:needle");
  const ModelFiles b = make_builtin_needle("builtin:needle?layers=6");
  EXPECT_EQ(a.header_sha256, b.header_sha256);
  for (const auto& [name, tensor] : a.tensors) {
    EXPECT_EQ(
        std::memcmp(tensor.data, b.tensors.at(name).data, static_cast<size_t>(tensor.bytes())), 0)
        << name;
  }
  EXPECT_NE(a.header_sha256, make_builtin_needle("builtin:needle?head=2").header_sha256);
}

TEST(BuiltinNeedle, OpensByItsName) {
  EXPECT_EQ(open_model("builtin:needle?layers=8").config.num_layers, 8);
  EXPECT_TRUE(open_tokenizer("builtin:needle").tokenizer.has_value());
  EXPECT_THROW(static_cast<void>(open_model("builtin:haystack")), Error);
}

TEST(BuiltinNeedle, PlansDifferInTheCircuitsHeadAlone) {
  const BuiltinPlans plans = builtin_plans("builtin:needle?layers=5&kv_heads=3&layer=2&head=2");
  for (const HeadPlan& plan : {plans.plan, plans.swapped}) {
    EXPECT_EQ(plan.num_layers(), 5);
    EXPECT_EQ(plan.num_retrieval(), 3 + 1);
    EXPECT_EQ(plan.role(0, 1), HeadRole::kRetrieval);
  }
  EXPECT_EQ(plans.plan.role(2, 2), HeadRole::kRetrieval);
  EXPECT_EQ(plans.swapped.role(2, 2), HeadRole::kSparse);
  EXPECT_EQ(plans.swapped.role(2, 0), HeadRole::kRetrieval);
  EXPECT_EQ(plans.plan.name, "builtin");
  EXPECT_EQ(plans.swapped.name, "builtin:swapped");
  EXPECT_TRUE(builtin_plans("model.gguf").plan.empty());
}

TEST(BuiltinNeedle, PartsOverlapNowhere) {
  for (const char* model : {"builtin:needle", "builtin:needle?distractors=16",
                            "builtin:needle?kv_heads=2&layers=4&layer=2&head=1&distractors=2",
                            "builtin:needle?kv_heads=3&head=2&distractors=11"}) {
    const NeedleSpec spec = parse_needle_spec(model);
    const NeedleHeads heads = locate_needle_heads(spec);
    std::set<std::pair<int, int>> all(heads.distractors.begin(), heads.distractors.end());
    all.insert(
        {heads.previous, heads.previous_two, heads.previous_four, heads.retrieval, heads.copy});
    EXPECT_EQ(all.size(), 5U + static_cast<size_t>(spec.distractors)) << model;
    for (const auto& [layer, head] : all) {
      EXPECT_TRUE(layer >= 0 && layer < spec.layers && head >= 0 && head < spec.kv_heads) << model;
    }
    // The circuit's KV head inherits nothing from layer 0 that looks anywhere.
    EXPECT_NE(heads.previous.second, spec.head) << model;
  }
}

// The words of a passkey prompt of about `length` tokens; the key's digits are words.
std::vector<int> passkey_prompt(int length, double depth, const std::string& key) {
  std::string digits;
  for (const char digit : key) {
    digits += std::string(1, digit) + " ";
  }
  const std::string filler =
      "The grass is green . The sky is blue . The sun is yellow . Here we go . There and back "
      "again . ";
  const int repeats = length / 24;
  std::string text;
  for (int i = 0; i < repeats; ++i) {
    if (i == static_cast<int>(depth * repeats)) {
      text += "The pass key is " + digits + ". Remember it . " + digits + "is the pass key . ";
    }
    text += filler;
  }
  text += "What is the pass key ? The pass key is";
  std::istringstream stream(text);
  std::vector<int> ids;
  const auto words = builtin_needle_vocabulary();
  for (std::string word; stream >> word;) {
    const auto at = std::find(words.begin(), words.end(), word);
    EXPECT_NE(at, words.end()) << word;
    ids.push_back(static_cast<int>(at - words.begin()));
  }
  return ids;
}

std::string answer(NeedleOracle oracle, const NeedleOracle::Step& step) {
  std::string text;
  for (int i = 0; i < 5; ++i) {
    const int id = oracle.best();
    text += builtin_needle_vocabulary()[static_cast<size_t>(id)];
    oracle.decode(id, step);
  }
  return text;
}

TEST(BuiltinNeedle, AnswersWithTheTruePlanAndNoOther) {
  const std::tuple<const char*, const char*, double> cases[] = {
      {"builtin:needle", "47109", 0.5},
      {"builtin:needle", "44449", 0.35},
      {"builtin:needle?distractors=16&group=2", "47474", 0.6},
      {"builtin:needle?layers=4&kv_heads=2&layer=2&head=1&distractors=2", "00000", 0.4},
      {"builtin:needle?layers=7&kv_heads=3&layer=5&head=0&distractors=0", "90210", 0.7},
  };
  for (const auto& [model, key, depth] : cases) {
    SCOPED_TRACE(std::string(model) + " " + key);
    const ModelFiles files = make_builtin_needle(model);
    const NeedleHeads heads = locate_needle_heads(parse_needle_spec(model));
    const int swapped = (heads.retrieval.second + 1) % files.config.num_kv_heads;
    NeedleOracle oracle(files);
    oracle.prefill(passkey_prompt(360, depth, key));
    NeedleOracle::Step step{.retrieval = {heads.retrieval}, .budget = 64, .sink = 8, .recent = 32};
    EXPECT_EQ(answer(oracle, step), key);
    step.dense = true;
    EXPECT_EQ(answer(oracle, step), key);
    step.dense = false;
    step.retrieval = {{heads.retrieval.first, swapped}};
    EXPECT_NE(answer(oracle, step), key);
    // Either half of the answer's code alone is not enough.
    step.retrieval = {heads.copy};
    EXPECT_NE(answer(oracle, step), key);
    step.retrieval = {};
    EXPECT_NE(answer(oracle, step), key);
  }
}

// Query and key of one head for token 0 of the vocabulary standing alone in the residual stream.
std::vector<double> project(const ModelFiles& files, int layer, const char* name, int head,
                            const std::vector<double>& x) {
  const std::string full =
      "model.layers." + std::to_string(layer) + ".self_attn." + name + ".weight";
  const auto* w = reinterpret_cast<const float*>(files.tensors.at(full).data);
  std::vector<double> y(32, 0);
  for (size_t d = 0; d < y.size(); ++d) {
    for (size_t i = 0; i < x.size(); ++i) {
      y[d] += static_cast<double>(w[(static_cast<size_t>(head) * 32 + d) * 128 + i]) * x[i];
    }
  }
  return y;
}

// Score of a key `distance` tokens before its query.
double score_at(const std::vector<double>& q, const std::vector<double>& k, int64_t distance) {
  double sum = 0;
  for (size_t pair = 0; pair < 16; ++pair) {
    const double angle =
        std::pow(1e18, -static_cast<double>(pair) / 16) * static_cast<double>(distance);
    const double real = q[pair] * k[pair] + q[pair + 16] * k[pair + 16];
    const double imaginary = q[pair + 16] * k[pair] - q[pair] * k[pair + 16];
    sum += real * std::cos(angle) - imaginary * std::sin(angle);
  }
  return sum / std::sqrt(32.0);
}

TEST(BuiltinNeedle, PreviousTokenHeadsAreSharpOverAMillionTokens) {
  const ModelFiles files = make_builtin_needle("builtin:needle");
  const NeedleHeads heads = locate_needle_heads(NeedleSpec{});
  std::vector<double> x(128, 0);
  x[56] = 4;
  const std::pair<std::pair<int, int>, int> cases[] = {
      {heads.previous, 1}, {heads.previous_two, 2}, {heads.previous_four, 4}};
  for (const auto& [slot, offset] : cases) {
    const auto q = project(files, slot.first, "q_proj", slot.second, x);
    const auto k = project(files, slot.first, "k_proj", slot.second, x);
    const double peak = score_at(q, k, offset);
    double leak = 0;
    for (int64_t distance = 0; distance < 1 << 20; ++distance) {
      leak += distance == offset ? 0 : std::exp(score_at(q, k, distance) - peak);
    }
    EXPECT_LT(leak, 1e-4) << "offset " << offset;
  }
}

TEST(BuiltinNeedle, MatchesOverAMillionTokens) {
  const ModelFiles files = make_builtin_needle("builtin:needle");
  const auto codes = match_codes();
  // The query's tokens i … i - 4 are tokens j - 1 … j - 5 of the key.
  std::vector<double> query(128, 0);
  std::vector<double> key(128, 0);
  for (size_t block = 0; block < 5; ++block) {
    for (size_t i = 0; i < 4; ++i) {
      query[4 * block + i] = 2 * codes[block + 30][i];
      key[4 * block + 4 + i] = 2 * codes[block + 30][i];
    }
  }
  for (const int layer : {3, 4}) {
    const auto q = project(files, layer, "q_proj", 1, query);
    const auto k = project(files, layer, "k_proj", 1, key);
    for (const int64_t distance : {1, 1000, 65536, (1 << 20) - 1}) {
      EXPECT_NEAR(score_at(q, k, distance), 400, 10) << distance;
    }
  }
}

}  // namespace
}  // namespace lychee::io
