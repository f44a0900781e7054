#include "io/huggingface/tokenizer_components.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "base/check.h"
#include "io/huggingface/tokenizer_fields.h"
#include "io/huggingface/tokenizer_steps.h"

namespace lychee::io {
namespace {

using nlohmann::json;

const json* find_component(const json& root, const char* key) {
  const auto found = root.find(key);
  return found == root.end() || found->is_null() ? nullptr : &*found;
}

// The elements of a Sequence, flattened; a lone component is a sequence of one. Published files
// nest one level; the bound is against hostile ones.
void flatten(const json& component, std::string_view where, const char* list_key, int depth,
             std::vector<const json*>& out) {
  require(depth < 8, ErrorCode::kUnsupported, "tokenizer.json: ", where, " nests too deeply");
  if (component_type(component, where) != "Sequence") {
    out.push_back(&component);
    return;
  }
  refuse_unknown_keys(component, where, {"type", list_key});
  const auto list = component.find(list_key);
  require(list != component.end() && list->is_array(), ErrorCode::kInvalidArgument,
          "tokenizer.json: a Sequence in ", where, " needs the array \"", list_key, "\"");
  for (const json& element : *list) {
    flatten(element, where, list_key, depth + 1, out);
  }
}

std::vector<const json*> component_list(const json& root, const char* key, const char* list_key) {
  std::vector<const json*> components;
  if (const json* component = find_component(root, key)) {
    flatten(*component, key, list_key, 0, components);
  }
  return components;
}

void append_special(const json& processor, const std::string& name, std::vector<int32_t>& out,
                    const TokenizerSpec& spec) {
  const auto table = processor.find("special_tokens");
  const bool known = table != processor.end() && table->is_object() && table->contains(name) &&
                     (*table)[name].is_object() && (*table)[name].contains("ids") &&
                     (*table)[name]["ids"].is_array();
  require(known, ErrorCode::kInvalidArgument, "tokenizer.json: TemplateProcessing uses \"", name,
          "\", which its special_tokens do not define");
  for (const json& id : (*table)[name]["ids"]) {
    require(id.is_number_integer() && id.get<int64_t>() >= 0 &&
                id.get<int64_t>() < static_cast<int64_t>(spec.tokens.size()),
            ErrorCode::kInvalidArgument, "tokenizer.json: TemplateProcessing gives \"", name,
            "\" an id outside the vocabulary");
    out.push_back(id.get<int32_t>());
  }
}

// Special tokens before and after the one sequence of the template for single texts.
void read_template(const json& processor, TokenizerSpec& spec) {
  constexpr std::string_view kWhere = "post_processor TemplateProcessing";
  refuse_unknown_keys(processor, kWhere, {"type", "single", "pair", "special_tokens"});
  const auto single = processor.find("single");
  require(single != processor.end() && single->is_array(), ErrorCode::kInvalidArgument,
          "tokenizer.json: TemplateProcessing needs the array \"single\"");
  int sequences = 0;
  for (const json& piece : *single) {
    require(piece.is_object() && piece.size() == 1 && piece.begin()->is_object(),
            ErrorCode::kInvalidArgument,
            "tokenizer.json: malformed element of TemplateProcessing.single");
    const std::string& kind = piece.begin().key();
    const std::string id = optional_string(*piece.begin(), "id", kWhere);
    if (kind == "Sequence") {
      ++sequences;
      continue;
    }
    require(kind == "SpecialToken", ErrorCode::kUnsupported,
            "tokenizer.json: TemplateProcessing element \"", kind, "\" is not supported");
    append_special(processor, id, sequences == 0 ? spec.prefix_ids : spec.suffix_ids, spec);
  }
  require(sequences == 1, ErrorCode::kUnsupported, "tokenizer.json: TemplateProcessing.single has ",
          sequences, " sequences; 1 is supported");
}

void read_post_processor(const json& root, TokenizerSpec& spec) {
  bool has_template = false;
  for (const json* processor : component_list(root, "post_processor", "processors")) {
    const std::string type = component_type(*processor, "post_processor");
    if (type == "TemplateProcessing") {
      require(!has_template, ErrorCode::kUnsupported,
              "tokenizer.json: a second TemplateProcessing is not supported");
      has_template = true;
      read_template(*processor, spec);
      continue;
    }
    // ByteLevel here only trims offsets.
    require(type == "ByteLevel", ErrorCode::kUnsupported, "tokenizer.json: post_processor \"", type,
            "\" is not supported");
  }
}

bool is_metaspace_to_space(const json& component) {
  const auto [pattern, is_regex] = parse_pattern(component, "decoder Replace");
  return !is_regex && pattern == kMetaspaceChar &&
         optional_string(component, "content", "decoder Replace") == " ";
}

bool is_strip_of_one_leading_space(const json& component) {
  return optional_string(component, "content", "decoder Strip") == " " &&
         component.value("start", json(0)) == 1 && component.value("stop", json(0)) == 0;
}

struct Decoder {
  bool byte_level = false;
  bool metaspace = false;  // U+2581 becomes a space
  bool strips_space = false;
};

Decoder read_decoder(const json& root) {
  Decoder decoder;
  for (const json* component : component_list(root, "decoder", "decoders")) {
    const std::string type = component_type(*component, "decoder");
    if (type == "ByteLevel") {
      decoder.byte_level = true;
    } else if (type == "Metaspace") {
      decoder.metaspace = true;
      const bool prefix = optional_bool(*component, "add_prefix_space", true, "decoder Metaspace");
      decoder.strips_space =
          prefix && optional_string(*component, "prepend_scheme", "decoder Metaspace") != "never";
    } else if (type == "Replace" && is_metaspace_to_space(*component)) {
      decoder.metaspace = true;
    } else if (type == "Strip" && is_strip_of_one_leading_space(*component)) {
      decoder.strips_space = true;
    } else {
      require(type == "ByteFallback" || type == "Fuse", ErrorCode::kUnsupported,
              "tokenizer.json: decoder \"", type, "\" with these settings is not supported");
    }
  }
  return decoder;
}

}  // namespace

void read_components(const json& root, TokenizerSpec& spec) {
  for (const json* component : component_list(root, "normalizer", "normalizers")) {
    spec.normalizer.push_back(parse_normalizer(*component));
  }
  for (const json* component : component_list(root, "pre_tokenizer", "pretokenizers")) {
    spec.pre_tokenizer.push_back(parse_pre_tokenizer(*component));
  }
  read_post_processor(root, spec);
  const Decoder decoder = read_decoder(root);
  const bool byte_level = std::any_of(
      spec.pre_tokenizer.begin(), spec.pre_tokenizer.end(),
      [](const PreTokenizerStep& step) { return step.kind == PreTokenizerStep::Kind::kByteLevel; });
  require(byte_level == decoder.byte_level && byte_level != decoder.metaspace,
          ErrorCode::kUnsupported,
          "tokenizer.json: pre_tokenizer and decoder must both be ByteLevel, or the decoder turn "
          "U+2581 into spaces");
  spec.kind = byte_level ? TokenizerKind::kByteLevelBpe : TokenizerKind::kSentencePieceBpe;
  spec.add_prefix_space = decoder.strips_space;
}

}  // namespace lychee::io
