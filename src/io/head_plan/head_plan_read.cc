#include <algorithm>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/mapped_file.h"
#include "base/text_file.h"
#include "io/fetch/sha256.h"
#include "io/head_plan/head_plan_files.h"
#include "io/huggingface/safetensors.h"
#include "io/json_file.h"

namespace lychee::io {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFormat = "lychee-head-plan";
constexpr int64_t kVersion = 1;

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

void check_format(const JsonObject& config) {
  const std::string format = config.required_string("format");
  require(format == kFormat, ErrorCode::kInvalidArgument, config.file_name(), ": format is \"",
          format, "\", not \"", kFormat, "\"");
  const int64_t version = config.required_integer("format_version", 0, INT64_MAX);
  require(version == kVersion, ErrorCode::kUnsupported, config.file_name(), ": format_version is ",
          version, "; this program reads version ", kVersion);
  const std::string granularity = config.string("granularity").value_or("kv_head");
  require(granularity == "kv_head", ErrorCode::kUnsupported, config.file_name(),
          ": granularity is \"", granularity, R"("; only "kv_head" is supported)");
}

int read_size(const JsonObject& object, std::string_view key) {
  return object.contains(key) ? static_cast<int>(object.required_integer(key, 1, INT32_MAX)) : 0;
}

void read_base_model(const JsonObject& config, HeadPlanFiles& files) {
  const std::optional<JsonObject> model = config.object("base_model");
  if (!model) {
    return;
  }
  files.base_model = model->string("name").value_or("");
  files.model_type = model->string("model_type").value_or("");
  files.shape = {read_size(*model, "num_hidden_layers"), read_size(*model, "num_attention_heads"),
                 read_size(*model, "num_key_value_heads"), read_size(*model, "head_dim")};
}

// What we do not vary must be what we do.
void check_fixed_rules(const JsonObject& selection) {
  const auto check = [&](std::string_view key, std::string_view ours) {
    const std::string value = selection.string(key).value_or(std::string(ours));
    require(value == ours, ErrorCode::kUnsupported, selection.file_name(), ": ", key, " is \"",
            value, "\"; only \"", ours, "\" is supported");
  };
  check("query_reduce", "mean");
  check("score", "raw_dot");
  check("tie_break", "lower_position");
  const int64_t block_size = selection.integer("block_size").value_or(Selection::kBlockSize);
  require(block_size == Selection::kBlockSize, ErrorCode::kUnsupported, selection.file_name(),
          ": block_size is ", block_size, "; only ", Selection::kBlockSize, " is supported");
}

Selection read_selection(const JsonObject& object) {
  Selection selection;
  check_fixed_rules(object);
  const std::string mode = object.string("mode").value_or("topk");
  const std::optional<SelectMode> known = parse_select_mode(mode);
  require(known.has_value(), ErrorCode::kInvalidArgument, object.file_name(), ": mode is \"", mode,
          "\", not topk, block, ratio, mass or threshold");
  selection.mode = *known;
  const auto read = [&](std::string_view key, int otherwise) {
    return object.contains(key) ? static_cast<int>(object.required_integer(key, 0, INT32_MAX))
                                : otherwise;
  };
  selection.budget = read("budget", selection.budget);
  selection.sink = read("sink", selection.sink);
  selection.recent = read("recent", selection.recent);
  selection.ratio = object.number("ratio").value_or(selection.ratio);
  selection.mass = object.number("mass").value_or(selection.mass);
  selection.threshold = object.number("threshold").value_or(selection.threshold);
  try {
    validate(selection);
  } catch (const Error& error) {
    fail(error.code(), object.file_name(), ": ", error.what());
  }
  return selection;
}

HeadPlan read_roles(const JsonObject& config, const fs::path& folder) {
  const std::string name = config.string("roles_file").value_or("head_roles.tsv");
  require(!name.empty() && fs::path(name).filename() == name && name != "." && name != "..",
          ErrorCode::kInvalidArgument, config.file_name(), ": roles_file \"", name,
          "\" is not a plain file name");
  const fs::path path = folder / name;
  const std::string text = read_text_file(path);
  if (const std::optional<std::string> expected = config.string("roles_sha256")) {
    const std::string actual = sha256_hex(text);
    require(*expected == actual, ErrorCode::kInvalidArgument, path.string(), ": SHA-256 is ",
            actual, ", ", config.file_name(), " says ", *expected);
  }
  const HeadTable table = parse_head_table(text, path.string());
  HeadPlan plan(table.num_layers, table.num_kv_heads);
  for (size_t i = 0; i < table.values.size(); ++i) {
    const int layer = static_cast<int>(i / static_cast<size_t>(table.num_kv_heads));
    const int head = static_cast<int>(i % static_cast<size_t>(table.num_kv_heads));
    const float value = table.values[i];
    require(value == 0 || value == 1, ErrorCode::kInvalidArgument, path.string(), ": line ",
            layer + 1, " holds ", value, "; roles are 0 (sparse) or 1 (retrieval)");
    require(layer > 0 || value == 1, ErrorCode::kInvalidArgument, path.string(), ": head ", head,
            " of layer 0 is sparse; layer 0 must be all 1");
    plan.set_role(layer, head, value == 1 ? HeadRole::kRetrieval : HeadRole::kSparse);
  }
  return plan;
}

std::vector<float> read_parameter(const TensorMap& tensors, std::string_view name,
                                  const HeadPlan& plan, const fs::path& path) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) {
    return {};
  }
  const TensorView& view = found->second;
  const std::vector<int64_t> shape = {plan.num_layers(), plan.num_kv_heads()};
  require(view.dtype == DType::kF32 && view.shape == shape, ErrorCode::kInvalidArgument,
          path.string(), ": ", name, " is not F32 of ", shape[0], " by ", shape[1]);
  std::vector<float> values(static_cast<size_t>(view.count()));
  std::copy_n(view.data, view.bytes(), reinterpret_cast<std::byte*>(values.data()));
  return values;
}

void read_optional_files(const fs::path& folder, HeadPlanFiles& files) {
  if (const fs::path path = folder / "head_scores.tsv"; is_there(path)) {
    HeadTable table = parse_head_table(read_text_file(path), path.string());
    require(table.num_layers == files.plan.num_layers() &&
                table.num_kv_heads == files.plan.num_kv_heads(),
            ErrorCode::kInvalidArgument, path.string(), ": ", table.num_layers, " by ",
            table.num_kv_heads, " scores for ", files.plan.num_layers(), " by ",
            files.plan.num_kv_heads(), " roles");
    files.scores = std::move(table.values);
  }
  if (const fs::path path = folder / "head_params.safetensors"; is_there(path)) {
    const MappedFile file(path);
    const TensorMap tensors = parse_safetensors(file.bytes(), path.string());
    files.kuma_alpha = read_parameter(tensors, "kuma.alpha", files.plan, path);
    files.kuma_beta = read_parameter(tensors, "kuma.beta", files.plan, path);
  }
}

void check_counts(const JsonObject& config, const HeadPlanFiles& files) {
  if (const std::optional<int64_t> count = config.integer("num_retrieval")) {
    require(*count == files.plan.num_retrieval(), ErrorCode::kInvalidArgument, config.file_name(),
            ": num_retrieval is ", *count, ", the roles count ", files.plan.num_retrieval());
  }
  check_head_plan_shape(files, {files.plan.num_layers(), 0, files.plan.num_kv_heads(), 0},
                        config.file_name());
}

}  // namespace

HeadPlanFiles read_head_plan_folder(const fs::path& folder) {
  const fs::path path = folder / "lychee_config.json";
  require(is_there(path), ErrorCode::kInvalidArgument, folder.string(),
          " is not a head plan: it has no lychee_config.json");
  const nlohmann::json json = parse_json(read_text_file(path), path.string());
  const JsonObject config(json, path.string());
  check_format(config);
  HeadPlanFiles files;
  read_base_model(config, files);
  files.plan = read_roles(config, folder);
  check_counts(config, files);
  files.plan.name = folder.string();
  if (const std::optional<JsonObject> selection = config.object("selection")) {
    files.plan.selection = read_selection(*selection);
  }
  if (const std::optional<JsonObject> correction = config.object("cache_correction")) {
    files.plan.cache_correction =
        correction->contains("every")
            ? static_cast<int>(correction->required_integer("every", 0, INT32_MAX))
            : 0;
  }
  if (const std::optional<JsonObject> rounding = config.object("rounding")) {
    files.rounding_rule = rounding->string("rule").value_or("");
  }
  read_optional_files(folder, files);
  return files;
}

void check_head_plan_shape(const HeadPlanFiles& files, const HeadPlanShape& model,
                           const std::string& plan_name) {
  const auto check = [&](std::string_view what, int of_plan, int of_model) {
    require(of_plan == 0 || of_model == 0 || of_plan == of_model, ErrorCode::kInvalidArgument,
            "head plan ", plan_name, " is for ", of_plan, " ", what, ", the model has ", of_model);
  };
  check("layers", files.shape.num_layers, model.num_layers);
  check("KV heads", files.shape.num_kv_heads, model.num_kv_heads);
  check("query heads", files.shape.num_q_heads, model.num_q_heads);
  check("dimensions a head", files.shape.head_dim, model.head_dim);
  check("layers", files.plan.num_layers(), model.num_layers);
  check("KV heads", files.plan.num_kv_heads(), model.num_kv_heads);
}

}  // namespace lychee::io
