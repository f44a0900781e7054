#include "io/huggingface/tokenizer_steps.h"

#include <string>

#include "base/check.h"
#include "io/huggingface/tokenizer_fields.h"

namespace lychee::io {

using nlohmann::json;

namespace {

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

}  // namespace

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

}  // namespace lychee::io
