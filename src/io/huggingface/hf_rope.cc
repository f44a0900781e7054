#include <algorithm>
#include <array>
#include <optional>

#include "base/check.h"
#include "io/huggingface/hf_config.h"

namespace lychee::io {
namespace {

RopeType read_type(const JsonObject& rope) {
  constexpr std::array<std::pair<std::string_view, RopeType>, 5> kTypes = {{
      {"default", RopeType::kDefault},
      {"linear", RopeType::kLinear},
      {"dynamic", RopeType::kDynamic},
      {"llama3", RopeType::kLlama3},
      {"yarn", RopeType::kYarn},
  }};
  // `type` is the older spelling.
  const std::string name =
      rope.contains("rope_type") ? rope.required_string("rope_type") : rope.required_string("type");
  for (const auto& [known, type] : kTypes) {
    if (known == name) {
      return type;
    }
  }
  fail(ErrorCode::kUnsupported, rope.file_name(), ": RoPE type ", name,
       " is not supported; supported are default, linear, dynamic, llama3 and yarn");
}

double read_positive(const JsonObject& rope, std::string_view key) {
  const double value = rope.required_number(key);
  require(value > 0, ErrorCode::kInvalidArgument, rope.file_name(), ": ", key, " is ", value,
          ", not above 0");
  return value;
}

void read_llama3(const JsonObject& rope, RopeScaling& scaling) {
  require(scaling.original_context > 0, ErrorCode::kInvalidArgument, rope.file_name(),
          ": original_max_position_embeddings is missing");
  scaling.low_freq_factor = read_positive(rope, "low_freq_factor");
  scaling.high_freq_factor = read_positive(rope, "high_freq_factor");
  require(scaling.low_freq_factor < scaling.high_freq_factor, ErrorCode::kInvalidArgument,
          rope.file_name(), ": low_freq_factor ", scaling.low_freq_factor,
          " is not below high_freq_factor ", scaling.high_freq_factor);
}

void read_yarn(const JsonObject& rope, RopeScaling& scaling) {
  scaling.beta_fast = rope.number("beta_fast").value_or(scaling.beta_fast);
  scaling.beta_slow = rope.number("beta_slow").value_or(scaling.beta_slow);
  scaling.attention_factor = rope.number("attention_factor");
  scaling.mscale = rope.number("mscale").value_or(0);
  scaling.mscale_all_dim = rope.number("mscale_all_dim").value_or(0);
  scaling.truncate = rope.boolean("truncate").value_or(true);
  require(scaling.beta_slow > 0 && scaling.beta_fast >= scaling.beta_slow,
          ErrorCode::kInvalidArgument, rope.file_name(), ": beta_fast ", scaling.beta_fast,
          " and beta_slow ", scaling.beta_slow, " are not 0 < beta_slow <= beta_fast");
}

// The parameters that go with `scaling.type`.
void read_parameters(const JsonObject& config, const JsonObject& rope, ModelConfig& result) {
  RopeScaling& scaling = result.rope_scaling;
  constexpr std::string_view kOriginal = "original_max_position_embeddings";
  const JsonObject& holder = rope.contains(kOriginal) ? rope : config;
  if (holder.contains(kOriginal)) {
    scaling.original_context = holder.required_integer(kOriginal, 1, int64_t{1} << 40);
  }
  if (scaling.type == RopeType::kYarn && !rope.contains("factor") && scaling.original_context > 0) {
    scaling.factor =
        static_cast<double>(result.context_length) / static_cast<double>(scaling.original_context);
  } else {
    scaling.factor = read_positive(rope, "factor");
  }
  require(scaling.factor >= 1, ErrorCode::kInvalidArgument, rope.file_name(), ": factor ",
          scaling.factor, " is below 1");
  if (scaling.type == RopeType::kLlama3) {
    read_llama3(rope, scaling);
  } else if (scaling.type == RopeType::kYarn) {
    read_yarn(rope, scaling);
  }
}

// yarn and dynamic serve factor times the original context, though max_position_embeddings may
// still state the original one: Qwen's own instructions add rope_scaling and change nothing else.
void extend_context(ModelConfig& result) {
  RopeScaling& scaling = result.rope_scaling;
  if (scaling.type != RopeType::kYarn && scaling.type != RopeType::kDynamic) {
    return;
  }
  if (scaling.original_context == 0) {
    scaling.original_context = result.context_length;
  }
  constexpr double kMaxContext = 1LL << 40;
  const double extended =
      std::min(kMaxContext, scaling.factor * static_cast<double>(scaling.original_context));
  result.context_length = std::max(result.context_length, static_cast<int64_t>(extended));
}

}  // namespace

void read_hf_rope(const JsonObject& config, ModelConfig& result) {
  constexpr double kDefaultTheta = 10000;
  result.rope_theta = config.number("rope_theta").value_or(kDefaultTheta);
  std::optional<JsonObject> rope = config.object("rope_parameters");
  if (!rope) {
    rope = config.object("rope_scaling");
  }
  if (!rope) {
    return;
  }
  const bool per_layer_type = !rope->contains("rope_type") && !rope->contains("type") &&
                              !rope->contains("rope_theta") && !rope->json().empty();
  require(!per_layer_type, ErrorCode::kUnsupported, rope->file_name(),
          " holds neither rope_type nor rope_theta; RoPE per kind of layer is not supported");
  result.rope_theta = rope->number("rope_theta").value_or(result.rope_theta);
  if (!rope->contains("rope_type") && !rope->contains("type")) {
    return;
  }
  result.rope_scaling.type = read_type(*rope);
  if (result.rope_scaling.type == RopeType::kDefault) {
    return;
  }
  read_parameters(config, *rope, result);
  extend_context(result);
}

}  // namespace lychee::io
