#include "io/huggingface/tokenizer_json.h"

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/check.h"
#include "base/mapped_file.h"
#include "io/huggingface/tokenizer_components.h"
#include "io/huggingface/tokenizer_fields.h"

namespace lychee::io {
namespace {

using nlohmann::json;

// Of hostile files: ids beyond it would make us allocate without end. Real ones stay below 300,000.
constexpr int64_t kMaxVocab = int64_t{1} << 22;

json parse_object(std::string_view text, std::string_view file) {
  json parsed;
  try {
    parsed = json::parse(text);
  } catch (const json::exception& error) {
    fail(ErrorCode::kInvalidArgument, file, " is not valid JSON: ", error.what());
  }
  require(parsed.is_object(), ErrorCode::kInvalidArgument, file, " must hold a JSON object");
  return parsed;
}

int32_t checked_id(const json& value, std::string_view token) {
  require(
      value.is_number_integer() && value.get<int64_t>() >= 0 && value.get<int64_t>() < kMaxVocab,
      ErrorCode::kInvalidArgument, "tokenizer.json: the id of token \"", token,
      "\" must be an integer from 0 to ", kMaxVocab - 1);
  return value.get<int32_t>();
}

void place_token(TokenizerSpec& spec, int32_t id, const std::string& token) {
  const auto index = static_cast<size_t>(id);
  if (index >= spec.tokens.size()) {
    spec.tokens.resize(index + 1);
  }
  require(spec.tokens[index].empty() || spec.tokens[index] == token, ErrorCode::kInvalidArgument,
          "tokenizer.json gives id ", id, " to both \"", spec.tokens[index], "\" and \"", token,
          "\"");
  spec.tokens[index] = token;
}

void read_vocab(const json& vocab, TokenizerSpec& spec) {
  require(vocab.is_object(), ErrorCode::kInvalidArgument,
          "tokenizer.json: model.vocab must be an object");
  spec.tokens.reserve(vocab.size() + 1024);
  for (const auto& [token, id] : vocab.items()) {
    place_token(spec, checked_id(id, token), token);
  }
}

std::pair<std::string, std::string> parse_merge(json& merge, size_t index) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return {std::move(merge[0].get_ref<std::string&>()),
            std::move(merge[1].get_ref<std::string&>())};
  }
  if (merge.is_string()) {
    const auto& text = merge.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space != std::string::npos && text.find(' ', space + 1) == std::string::npos) {
      return {text.substr(0, space), text.substr(space + 1)};
    }
  }
  fail(ErrorCode::kInvalidArgument, "tokenizer.json: merge ", index,
       R"( must be two tokens: "a b" or ["a", "b"])");
}

void refuse_affixes(const json& model) {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    require(optional_string(model, key, "model").empty(), ErrorCode::kUnsupported,
            "tokenizer.json: model.", key, " is not supported");
  }
  const auto dropout = model.find("dropout");
  require(dropout == model.end() || dropout->is_null() || *dropout == 0.0, ErrorCode::kUnsupported,
          "tokenizer.json: model.dropout is not supported: encoding would be random");
}

void read_model(json& root, TokenizerSpec& spec) {
  const auto found = root.find("model");
  require(found != root.end() && found->is_object(), ErrorCode::kInvalidArgument,
          "tokenizer.json: no object \"model\"");
  json& model = *found;
  // Files of early versions leave the type out; only BPE has merges.
  const std::string type = model.contains("type") || !model.contains("merges")
                               ? component_type(model, "model")
                               : std::string("BPE");
  require(type == "BPE", ErrorCode::kUnsupported, "tokenizer.json: model type \"", type,
          "\" is not supported (only BPE)");
  refuse_unknown_keys(
      model, "model",
      {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
       "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"});
  refuse_affixes(model);
  require(model.contains("vocab") && model.contains("merges") && model["merges"].is_array(),
          ErrorCode::kInvalidArgument, R"(tokenizer.json: model needs "vocab" and "merges")");
  read_vocab(model["vocab"], spec);
  json& merges = model["merges"];
  spec.merges.reserve(merges.size());
  for (size_t i = 0; i < merges.size(); ++i) {
    spec.merges.push_back(parse_merge(merges[i], i));
  }
  spec.fuse_unk = optional_bool(model, "fuse_unk", false, "model");
  spec.byte_fallback = optional_bool(model, "byte_fallback", false, "model");
  spec.ignore_merges = optional_bool(model, "ignore_merges", false, "model");
  spec.unk_token = optional_string(model, "unk_token", "model");
}

void read_added_tokens(const json& root, TokenizerSpec& spec) {
  const auto found = root.find("added_tokens");
  if (found == root.end() || found->is_null()) {
    return;
  }
  require(found->is_array(), ErrorCode::kInvalidArgument,
          "tokenizer.json: added_tokens must be an array");
  for (const json& entry : *found) {
    require(entry.is_object() && entry.contains("id"), ErrorCode::kInvalidArgument,
            R"(tokenizer.json: every added token is an object with "id" and "content")");
    constexpr const char* kWhere = "added_tokens";
    refuse_unknown_keys(
        entry, kWhere,
        {"id", "content", "special", "normalized", "single_word", "lstrip", "rstrip"});
    AddedToken token;
    token.content = optional_string(entry, "content", kWhere);
    require(!token.content.empty(), ErrorCode::kInvalidArgument,
            "tokenizer.json: an added token has no content");
    token.id = checked_id(entry["id"], token.content);
    token.special = optional_bool(entry, "special", false, kWhere);
    token.normalized = optional_bool(entry, "normalized", !token.special, kWhere);
    token.single_word = optional_bool(entry, "single_word", false, kWhere);
    token.lstrip = optional_bool(entry, "lstrip", false, kWhere);
    token.rstrip = optional_bool(entry, "rstrip", false, kWhere);
    place_token(spec, token.id, token.content);
    spec.added_tokens.push_back(std::move(token));
  }
}

int32_t find_token(const TokenizerSpec& spec, const std::string& token) {
  for (const AddedToken& added : spec.added_tokens) {
    if (added.content == token) {
      return added.id;
    }
  }
  for (size_t id = 0; id < spec.tokens.size(); ++id) {
    if (!token.empty() && spec.tokens[id] == token) {
      return static_cast<int32_t>(id);
    }
  }
  return -1;
}

// A token in tokenizer_config.json: a string, an object with its "content", or null.
std::string config_token(const json& config, const char* key) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) {
    return "";
  }
  if (found->is_object()) {
    return optional_string(*found, "content", key);
  }
  require(found->is_string(), ErrorCode::kInvalidArgument, "tokenizer_config.json: ", key,
          " must be a string, an object or null");
  return found->get<std::string>();
}

void read_config(std::string_view config_json, TokenizerSpec& spec) {
  const json config = parse_object(config_json, "tokenizer_config.json");
  spec.bos_token = config_token(config, "bos_token");
  spec.eos_token = config_token(config, "eos_token");
  spec.pad_token = config_token(config, "pad_token");
  const std::string unk_token = config_token(config, "unk_token");
  if (!unk_token.empty() && spec.unk_token.empty()) {
    spec.unk_token = unk_token;
  }
  spec.bos_id = find_token(spec, spec.bos_token);
  spec.eos_id = find_token(spec, spec.eos_token);
  spec.pad_id = find_token(spec, spec.pad_token);
}

std::string read_text(const std::filesystem::path& path) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

TokenizerSpec parse_tokenizer_json(std::string_view tokenizer_json, std::string_view config_json) {
  json root = parse_object(tokenizer_json, "tokenizer.json");
  refuse_unknown_keys(root, "top level",
                      {"version", "truncation", "padding", "added_tokens", "normalizer",
                       "pre_tokenizer", "post_processor", "decoder", "model"});
  TokenizerSpec spec;
  read_model(root, spec);
  read_added_tokens(root, spec);
  const std::string model_unk = spec.unk_token;
  spec.unk_id = find_token(spec, model_unk);
  require(model_unk.empty() || spec.unk_id >= 0, ErrorCode::kInvalidArgument,
          "tokenizer.json: unk_token \"", model_unk, "\" is not in the vocabulary");
  read_components(root, spec);
  if (!config_json.empty()) {
    read_config(config_json, spec);
  }
  return spec;
}

std::optional<TokenizerSpec> read_tokenizer(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "tokenizer.json";
  if (!std::filesystem::exists(path)) {
    return std::nullopt;
  }
  const std::filesystem::path config = folder / "tokenizer_config.json";
  return parse_tokenizer_json(read_text(path),
                              std::filesystem::exists(config) ? read_text(config) : "");
}

std::string parse_chat_template(std::string_view config_json) {
  const json config = parse_object(config_json, "tokenizer_config.json");
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) {
    return "";
  }
  if (found->is_string()) {
    return found->get<std::string>();
  }
  require(found->is_array(), ErrorCode::kInvalidArgument,
          "tokenizer_config.json: chat_template must be a string or a list");
  for (const json& entry : *found) {
    require(entry.is_object(), ErrorCode::kInvalidArgument,
            "tokenizer_config.json: every chat template of a list is an object");
    if (optional_string(entry, "name", "chat_template") == "default") {
      return optional_string(entry, "template", "chat_template");
    }
  }
  return "";
}

std::string read_chat_template(const std::filesystem::path& folder) {
  const std::filesystem::path jinja = folder / "chat_template.jinja";
  if (std::filesystem::exists(jinja)) {
    return read_text(jinja);
  }
  for (const char* name : {"chat_template.json", "tokenizer_config.json"}) {
    const std::filesystem::path path = folder / name;
    if (std::filesystem::exists(path)) {
      std::string source = parse_chat_template(read_text(path));
      if (!source.empty()) {
        return source;
      }
    }
  }
  return "";
}

}  // namespace lychee::io
