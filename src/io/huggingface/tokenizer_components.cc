#include "io/huggingface/tokenizer_components.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/check.h"

namespace lychee::io {
namespace {

using nlohmann::json;

constexpr std::string_view kMetaspaceChar = "\xE2\x96\x81";  // U+2581

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

// {"String": "…"} or {"Regex": "…"}, as both are written.
std::pair<std::string, bool> parse_pattern(const json& component, std::string_view where) {
  const auto pattern = component.find("pattern");
  require(pattern != component.end() && pattern->is_object() && pattern->size() == 1,
          ErrorCode::kInvalidArgument, "tokenizer.json: ", where,
          " needs a pattern: {\"String\": …} or {\"Regex\": …}");
  const std::string& kind = pattern->begin().key();
  require(kind == "String" || kind == "Regex", ErrorCode::kUnsupported,
          "tokenizer.json: pattern kind \"", kind, "\" of ", where, " is not supported");
  return {optional_string(*pattern, kind.c_str(), where), kind == "Regex"};
}

NormalizerStep parse_normalizer(const json& component) {
  constexpr std::string_view kWhere = "normalizer";
  const std::string type = component_type(component, kWhere);
  NormalizerStep step;
  if (type == "Replace") {
    refuse_unknown_keys(component, kWhere, {"type", "pattern", "content"});
    const auto [pattern, is_regex] = parse_pattern(component, kWhere);
    require(!is_regex, ErrorCode::kUnsupported,
            "tokenizer.json: normalizer Replace with a Regex is not supported: ", pattern);
    step.kind = NormalizerStep::Kind::kReplace;
    step.pattern = pattern;
    step.replacement = optional_string(component, "content", kWhere);
    require(!step.pattern.empty(), ErrorCode::kInvalidArgument,
            "tokenizer.json: normalizer Replace has an empty pattern");
    return step;
  }
  if (type == "Prepend") {
    refuse_unknown_keys(component, kWhere, {"type", "prepend"});
    step.kind = NormalizerStep::Kind::kPrepend;
    step.replacement = optional_string(component, "prepend", kWhere);
    return step;
  }
  refuse_unknown_keys(component, kWhere, {"type"});
  if (type == "NFC") {
    step.kind = NormalizerStep::Kind::kNfc;
  } else if (type == "NFD") {
    step.kind = NormalizerStep::Kind::kNfd;
  } else if (type == "NFKC") {
    step.kind = NormalizerStep::Kind::kNfkc;
  } else if (type == "NFKD") {
    step.kind = NormalizerStep::Kind::kNfkd;
  } else {
    fail(ErrorCode::kUnsupported, "tokenizer.json: normalizer \"", type, "\" is not supported");
  }
  return step;
}

std::string escape_regex(std::string_view literal) {
  std::string pattern;
  for (const char c : literal) {
    if (std::string_view("\\^$.|?*+()[]{}-#").find(c) != std::string_view::npos) {
      pattern += '\\';
    }
    pattern += c;
  }
  return pattern;
}

PreTokenizerStep::Behavior parse_behavior(const std::string& name) {
  using Behavior = PreTokenizerStep::Behavior;
  if (name == "Isolated") {
    return Behavior::kIsolated;
  }
  if (name == "Removed") {
    return Behavior::kRemoved;
  }
  if (name == "MergedWithPrevious") {
    return Behavior::kMergedWithPrevious;
  }
  if (name == "MergedWithNext") {
    return Behavior::kMergedWithNext;
  }
  require(name == "Contiguous", ErrorCode::kUnsupported, "tokenizer.json: split behavior \"", name,
          "\" is not supported");
  return Behavior::kContiguous;
}

PreTokenizerStep parse_split(const json& component) {
  constexpr std::string_view kWhere = "pre_tokenizer Split";
  refuse_unknown_keys(component, kWhere, {"type", "pattern", "behavior", "invert"});
  PreTokenizerStep step;
  step.kind = PreTokenizerStep::Kind::kSplit;
  const auto [pattern, is_regex] = parse_pattern(component, kWhere);
  step.pattern = is_regex ? pattern : escape_regex(pattern);
  step.behavior = parse_behavior(optional_string(component, "behavior", kWhere));
  step.invert = optional_bool(component, "invert", false, kWhere);
  return step;
}

PreTokenizerStep parse_metaspace(const json& component) {
  constexpr std::string_view kWhere = "pre_tokenizer Metaspace";
  refuse_unknown_keys(
      component, kWhere,
      {"type", "replacement", "prepend_scheme", "add_prefix_space", "split", "str_rep"});
  using Prepend = PreTokenizerStep::Prepend;
  PreTokenizerStep step;
  step.kind = PreTokenizerStep::Kind::kMetaspace;
  const std::string replacement = optional_string(component, "replacement", kWhere);
  require(replacement.empty() || replacement == kMetaspaceChar, ErrorCode::kUnsupported,
          "tokenizer.json: Metaspace replacement \"", replacement,
          "\" is not supported (only U+2581)");
  const std::string scheme = optional_string(component, "prepend_scheme", kWhere);
  if (scheme.empty()) {
    // Files older than prepend_scheme.
    step.prepend = optional_bool(component, "add_prefix_space", true, kWhere) ? Prepend::kAlways
                                                                              : Prepend::kNever;
  } else if (scheme == "first") {
    step.prepend = Prepend::kFirst;
  } else if (scheme == "always") {
    step.prepend = Prepend::kAlways;
  } else {
    require(scheme == "never", ErrorCode::kUnsupported, "tokenizer.json: prepend_scheme \"", scheme,
            "\" is not supported");
    step.prepend = Prepend::kNever;
  }
  step.split = optional_bool(component, "split", true, kWhere);
  return step;
}

PreTokenizerStep parse_pre_tokenizer(const json& component) {
  constexpr std::string_view kWhere = "pre_tokenizer";
  const std::string type = component_type(component, kWhere);
  if (type == "Split") {
    return parse_split(component);
  }
  if (type == "Metaspace") {
    return parse_metaspace(component);
  }
  PreTokenizerStep step;
  if (type == "Digits") {
    refuse_unknown_keys(component, kWhere, {"type", "individual_digits"});
    step.kind = PreTokenizerStep::Kind::kDigits;
    step.individual_digits = optional_bool(component, "individual_digits", false, kWhere);
    return step;
  }
  require(type == "ByteLevel", ErrorCode::kUnsupported, "tokenizer.json: pre_tokenizer \"", type,
          "\" is not supported");
  refuse_unknown_keys(component, kWhere, {"type", "add_prefix_space", "trim_offsets", "use_regex"});
  step.kind = PreTokenizerStep::Kind::kByteLevel;
  step.add_prefix_space = optional_bool(component, "add_prefix_space", true, kWhere);
  step.use_regex = optional_bool(component, "use_regex", true, kWhere);
  return step;
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

void refuse_unknown_keys(const json& object, std::string_view where,
                         std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : object.items()) {
    require(std::find(known.begin(), known.end(), key) != known.end(), ErrorCode::kUnsupported,
            "tokenizer.json: field \"", key, "\" of ", where, " is not supported");
  }
}

std::string optional_string(const json& object, const char* key, std::string_view where) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) {
    return "";
  }
  require(found->is_string(), ErrorCode::kInvalidArgument, "tokenizer.json: \"", key, "\" of ",
          where, " must be a string");
  return found->get<std::string>();
}

bool optional_bool(const json& object, const char* key, bool otherwise, std::string_view where) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) {
    return otherwise;
  }
  require(found->is_boolean(), ErrorCode::kInvalidArgument, "tokenizer.json: \"", key, "\" of ",
          where, " must be true or false");
  return found->get<bool>();
}

std::string component_type(const json& component, std::string_view where) {
  require(component.is_object(), ErrorCode::kInvalidArgument, "tokenizer.json: ", where,
          " must be an object");
  std::string type = optional_string(component, "type", where);
  require(!type.empty(), ErrorCode::kInvalidArgument, "tokenizer.json: ", where, " has no type");
  return type;
}

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
