#include <cstring>
#include <sstream>
#include <string_view>

#include "base/check.h"
#include "base/text_file.h"
#include "io/fetch/sha256.h"
#include "io/head_plan/head_plan_files.h"
#include "io/json_file.h"
#include "lychee/version.h"

namespace lychee::io {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::string format_scores(const HeadPlanFiles& files) {
  std::ostringstream text;
  text.precision(9);  // a float survives the way there and back
  const auto columns = static_cast<size_t>(files.plan.num_kv_heads());
  for (size_t i = 0; i < files.scores.size(); ++i) {
    text << std::scientific << files.scores[i] << ((i + 1) % columns == 0 ? '\n' : '\t');
  }
  return text.str();
}

// The gates' parameters as a safetensors file: kuma.alpha and kuma.beta, F32.
std::string format_params(const HeadPlanFiles& files) {
  const size_t bytes = files.kuma_alpha.size() * sizeof(float);
  const auto entry = [&](size_t begin) {
    return Json{{"dtype", "F32"},
                {"shape", {files.plan.num_layers(), files.plan.num_kv_heads()}},
                {"data_offsets", {begin, begin + bytes}}};
  };
  std::string header = Json{{"kuma.alpha", entry(0)}, {"kuma.beta", entry(bytes)}}.dump();
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const uint64_t header_bytes = header.size();
  std::string text(sizeof(header_bytes), '\0');
  std::memcpy(text.data(), &header_bytes, sizeof(header_bytes));
  text += header;
  text.append(reinterpret_cast<const char*>(files.kuma_alpha.data()), bytes);
  text.append(reinterpret_cast<const char*>(files.kuma_beta.data()), bytes);
  return text;
}

Json selection_json(const Selection& selection) {
  const auto used = [&](SelectMode mode, double value) {
    return selection.mode == mode ? Json(value) : Json(nullptr);
  };
  return {{"mode", select_mode_name(selection.mode)},
          {"budget", selection.budget},
          {"block_size", Selection::kBlockSize},
          {"sink", selection.sink},
          {"recent", selection.recent},
          {"ratio", used(SelectMode::kRatio, selection.ratio)},
          {"mass", used(SelectMode::kMass, selection.mass)},
          {"threshold", used(SelectMode::kThreshold, selection.threshold)},
          {"query_reduce", "mean"},
          {"score", "raw_dot"},
          {"tie_break", "lower_position"}};
}

Json base_model_json(const HeadPlanFiles& files) {
  const auto known = [](int size) { return size > 0 ? Json(size) : Json(nullptr); };
  Json json = {{"name", files.base_model}, {"revision", nullptr}};
  json["model_type"] = files.model_type.empty() ? Json(nullptr) : Json(files.model_type);
  json["num_hidden_layers"] = files.plan.num_layers();
  json["num_attention_heads"] = known(files.shape.num_q_heads);
  json["num_key_value_heads"] = files.plan.num_kv_heads();
  json["head_dim"] = known(files.shape.head_dim);
  return json;
}

Json config_json(const HeadPlanFiles& files, const std::string& roles_sha256) {
  Json json = {{"format", "lychee-head-plan"}, {"format_version", 1}};
  json["base_model"] = base_model_json(files);
  json["granularity"] = "kv_head";
  json["roles_file"] = "head_roles.tsv";
  json["roles_sha256"] = roles_sha256;
  json["num_retrieval"] = files.plan.num_retrieval();
  json["first_layer"] = "retrieval";
  if (files.plan.selection) {
    json["selection"] = selection_json(*files.plan.selection);
  }
  if (!files.rounding_rule.empty()) {
    json["rounding"] = {{"rule", files.rounding_rule}};
  }
  json["cache_correction"] = {{"every", files.plan.cache_correction}};
  if (!files.training.empty()) {
    json["training"] = Json::parse(files.training);
  }
  json["tool"] = std::string("lycheedecode ") + kVersion;
  return json;
}

}  // namespace

std::string format_roles(const HeadPlan& plan) {
  std::string text;
  for (int layer = 0; layer < plan.num_layers(); ++layer) {
    for (int head = 0; head < plan.num_kv_heads(); ++head) {
      text += plan.role(layer, head) == HeadRole::kRetrieval ? '1' : '0';
      text += head + 1 < plan.num_kv_heads() ? '\t' : '\n';
    }
  }
  return text;
}

void write_head_plan_folder(const HeadPlanFiles& files, const fs::path& folder) {
  require(!files.plan.empty(), ErrorCode::kInvalidArgument, "an empty head plan cannot be saved");
  check_head_plan_shape(files, {files.plan.num_layers(), 0, files.plan.num_kv_heads(), 0},
                        folder.string());
  std::error_code error;
  fs::create_directories(folder, error);
  require(!error, ErrorCode::kIo, "cannot make the folder ", folder.string(), ": ",
          error.message());
  const std::string roles = format_roles(files.plan);
  write_and_rename(folder / "head_roles.tsv", roles);
  if (!files.scores.empty()) {
    write_and_rename(folder / "head_scores.tsv", format_scores(files));
  }
  if (!files.kuma_alpha.empty()) {
    require(files.kuma_alpha.size() == files.kuma_beta.size(), ErrorCode::kInternal,
            "as many alphas as betas");
    write_and_rename(folder / "head_params.safetensors", format_params(files));
  }
  const Json config = config_json(files, sha256_hex(roles));
  write_and_rename(folder / "lychee_config.json",
                   config.dump(2, ' ', true, Json::error_handler_t::replace) + "\n");
}

}  // namespace lychee::io
