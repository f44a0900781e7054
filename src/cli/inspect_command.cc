#include <fmt/format.h>

#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/output.h"
#include "io/head_plan/head_plan_files.h"
#include "io/model_files.h"
#include "report/head_map.h"
#include "report/page.h"

namespace lychee::cli {

namespace {

struct InspectOptions {
  CommonOptions common;
  std::string model;
  std::string heads;
  std::string html;
};

std::string_view rope_name(io::RopeType type) {
  switch (type) {
    case io::RopeType::kDefault:
      return "default";
    case io::RopeType::kLinear:
      return "linear";
    case io::RopeType::kDynamic:
      return "dynamic";
    case io::RopeType::kLlama3:
      return "llama3";
    case io::RopeType::kYarn:
      return "yarn";
  }
  return "";
}

std::string_view tokenizer_name(const io::ModelFiles& files) {
  if (!files.tokenizer) {
    return "";
  }
  switch (files.tokenizer->kind) {
    case io::TokenizerKind::kByteLevelBpe:
      return "byte-level BPE";
    case io::TokenizerKind::kSentencePieceBpe:
      return "SentencePiece BPE";
    case io::TokenizerKind::kWords:
      return "words";
  }
  return "";
}

nlohmann::ordered_json describe_weights(const io::ModelFiles& files) {
  std::map<std::string, std::pair<int64_t, int64_t>> types;  // name -> tensors, bytes
  for (const auto& [name, tensor] : files.tensors) {
    auto& [count, bytes] = types[std::string(dtype_info(tensor.dtype).name)];
    count += 1;
    bytes += tensor.bytes();
  }
  nlohmann::ordered_json json = {{"bytes", files.weight_bytes}, {"tensors", files.tensors.size()}};
  for (const auto& [name, entry] : types) {
    json["types"][name] = {{"tensors", entry.first}, {"bytes", entry.second}};
  }
  return json;
}

nlohmann::ordered_json describe_model(const io::ModelFiles& files) {
  const io::ModelConfig& config = files.config;
  nlohmann::ordered_json json;
  json["name"] = files.name;
  json["architecture"] = io::architecture_name(config.architecture);
  json["layers"] = config.num_layers;
  json["hidden_size"] = config.hidden_size;
  json["intermediate_size"] = config.intermediate_size;
  json["q_heads"] = config.num_q_heads;
  json["kv_heads"] = config.num_kv_heads;
  json["head_dim"] = config.head_dim;
  json["vocab_size"] = config.vocab_size;
  json["context"] = config.context_length;
  json["rope"] = {{"theta", config.rope_theta},
                  {"type", rope_name(config.rope_scaling.type)},
                  {"factor", config.rope_scaling.factor}};
  json["tied_embeddings"] = config.tie_word_embeddings;
  json["weights"] = describe_weights(files);
  if (files.tokenizer) {
    json["tokenizer"] = {{"kind", tokenizer_name(files)},
                         {"tokens", files.tokenizer->tokens.size()},
                         {"merges", files.tokenizer->merges.size()},
                         {"added_tokens", files.tokenizer->added_tokens.size()}};
  } else {
    json["tokenizer"] = nullptr;
  }
  json["chat_template"] = !files.chat_template.empty();
  return json;
}

nlohmann::ordered_json describe_plan(const HeadPlan& plan) {
  nlohmann::ordered_json roles = nlohmann::ordered_json::array();
  for (int layer = 0; layer < plan.num_layers(); ++layer) {
    nlohmann::ordered_json row = nlohmann::ordered_json::array();
    for (int head = 0; head < plan.num_kv_heads(); ++head) {
      row.push_back(plan.role(layer, head) == HeadRole::kRetrieval ? 1 : 0);
    }
    roles.push_back(std::move(row));
  }
  return {{"heads", plan.name}, {"roles", roles}, {"num_retrieval", plan.num_retrieval()}};
}

void print_model(const nlohmann::ordered_json& model) {
  std::cout << fmt::format("{}: {}, {} layers, {} query heads over {} KV heads of {}\n",
                           printable(model["name"].get<std::string>()),
                           model["architecture"].get<std::string>(), model["layers"].get<int>(),
                           model["q_heads"].get<int>(), model["kv_heads"].get<int>(),
                           model["head_dim"].get<int>());
  std::cout << fmt::format("  hidden {} · intermediate {} · vocabulary {} · context {}\n",
                           model["hidden_size"].get<int>(), model["intermediate_size"].get<int>(),
                           model["vocab_size"].get<int>(), model["context"].get<int64_t>());
  std::cout << fmt::format(
      "  RoPE {} (theta {}, factor {})\n", model["rope"]["type"].get<std::string>(),
      model["rope"]["theta"].get<double>(), model["rope"]["factor"].get<double>());
  for (const auto& [type, entry] : model["weights"]["types"].items()) {
    std::cout << fmt::format("  weights {:<6} {:>5} tensors {:>10}\n", type,
                             entry["tensors"].get<int64_t>(),
                             format_bytes(entry["bytes"].get<double>()));
  }
  if (!model["tokenizer"].is_null()) {
    std::cout << fmt::format("  tokenizer {}, {} tokens\n",
                             model["tokenizer"]["kind"].get<std::string>(),
                             model["tokenizer"]["tokens"].get<int64_t>());
  }
}

void print_plan(const HeadPlan& plan) {
  std::cout << fmt::format("head plan {}: {} of {} KV heads retrieve (# retrieval, . sparse)\n",
                           printable(plan.name), plan.num_retrieval(),
                           plan.num_layers() * plan.num_kv_heads());
  for (int layer = 0; layer < plan.num_layers(); ++layer) {
    std::cout << fmt::format("  {:>3} ", layer);
    for (int head = 0; head < plan.num_kv_heads(); ++head) {
      std::cout << (plan.role(layer, head) == HeadRole::kRetrieval ? '#' : '.');
    }
    std::cout << '\n';
  }
}

ModelInfo plan_target(const io::ModelFiles& files) {
  ModelInfo info;
  info.num_layers = files.config.num_layers;
  info.num_q_heads = files.config.num_q_heads;
  info.num_kv_heads = files.config.num_kv_heads;
  info.head_dim = files.config.head_dim;
  return info;
}

void write_head_map(const HeadPlan& plan, const std::string& path) {
  report::HeadMap map{fmt::format("{}: {} of {} KV heads retrieve", plan.name, plan.num_retrieval(),
                                  plan.num_layers() * plan.num_kv_heads()),
                      {}};
  for (int layer = 0; layer < plan.num_layers(); ++layer) {
    std::vector<bool>& row = map.retrieval.emplace_back();
    for (int head = 0; head < plan.num_kv_heads(); ++head) {
      row.push_back(plan.role(layer, head) == HeadRole::kRetrieval);
    }
  }
  std::ofstream file(path);
  file << report::html_page("Head plan", {report::svg(map)});
  file.close();
  require(file.good(), ErrorCode::kInvalidArgument, "cannot write ", path);
}

void inspect(const InspectOptions& options) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  std::shared_ptr<const HeadPlan> plan;
  nlohmann::ordered_json header_sha256;  // null without a model
  if (!options.model.empty()) {
    const io::ModelFiles files = io::open_model(resolve_model(options.model).string());
    json = describe_model(files);
    header_sha256 = files.header_sha256;
    plan = resolve_head_plan(
        options.heads.empty() ? std::nullopt : std::optional<std::string>(options.heads),
        options.model, plan_target(files));
  } else {
    plan = std::make_shared<HeadPlan>(io::read_head_plan_folder(options.heads).plan);
  }
  if (plan) {
    json.update(describe_plan(*plan));
  }
  if (!options.html.empty()) {
    require(plan != nullptr, ErrorCode::kInvalidArgument,
            "--html draws a head plan; give one with --heads");
    write_head_map(*plan, options.html);
  }
  if (options.common.json) {
    json["options"] = {{"model", options.model},
                       {"heads", plan ? nlohmann::ordered_json(plan->name) : nullptr},
                       {"model_sha256", header_sha256}};
    print_json(std::move(json));
    return;
  }
  if (!options.model.empty()) {
    print_model(json);
  }
  if (plan) {
    print_plan(*plan);
  }
}

}  // namespace

void add_inspect_command(CLI::App& app) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command = app.add_subcommand("inspect", "Describe a model, a head plan, or both");
  command->footer(
      "Examples:\n"
      "  lycheedecode inspect --model smollm2\n"
      "  lycheedecode inspect --model smollm2 --heads uniform:22");
  command->add_option("--model", options->model, "A model, as for run");
  command->add_option("--heads", options->heads, "A head plan, as for run");
  command->add_option("--html", options->html, "Draw the head plan into this page");
  add_common_options(*command, options->common);
  command->callback([options] {
    apply_common_options(options->common);
    require(!options->model.empty() || !options->heads.empty(), ErrorCode::kInvalidArgument,
            "inspect needs --model, --heads or both");
    inspect(*options);
  });
}

}  // namespace lychee::cli
