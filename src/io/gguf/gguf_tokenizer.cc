#include "io/gguf/gguf_tokenizer.h"

#include <array>
#include <utility>

#include "base/check.h"

namespace lychee::io {
namespace {

// Values of tokenizer.ggml.token_type.
enum TokenType : int64_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581

constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTekkenPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// What a value of tokenizer.ggml.pre stands for: the settings of the tokenizer.json it was made of.
struct PreTokenizerName {
  std::string_view name;
  std::string_view pattern;  // empty: GPT-2's
  bool digits = false;       // digits are split singly first
  bool nfc = false;
  bool ignore_merges = false;
  bool add_bos = false;  // where the file does not say
};

constexpr std::array<PreTokenizerName, 9> kPreTokenizers = {{
    {"gpt-2", "", false, false, false, false},
    {"gpt2", "", false, false, false, false},
    {"smollm", "", true, false, false, false},
    {"starcoder", "", true, false, false, false},
    {"llama-bpe", kLlama3Pattern, false, false, true, true},
    {"llama3", kLlama3Pattern, false, false, true, true},
    {"qwen2", kQwen2Pattern, false, true, false, false},
    {"deepseek-r1-qwen", kQwen2Pattern, false, true, false, true},
    {"tekken", kTekkenPattern, false, false, true, true},
}};

const PreTokenizerName& find_pre_tokenizer(const GgufMetadata& metadata) {
  const std::string* name = metadata.string("tokenizer.ggml.pre");
  require(name != nullptr, ErrorCode::kUnsupported, metadata.file_name(),
          ": tokenizer.ggml.pre is missing, so how text is cut into words is unknown; convert the "
          "model again with a current converter");
  std::string known;
  for (const PreTokenizerName& candidate : kPreTokenizers) {
    if (candidate.name == *name) {
      return candidate;
    }
    known.append(known.empty() ? "" : ", ").append(candidate.name);
  }
  fail(ErrorCode::kUnsupported, metadata.file_name(), ": tokenizer.ggml.pre \"", *name,
       "\" is not supported (only ", known, ")");
}

void read_tokens(const GgufMetadata& metadata, TokenizerSpec& spec) {
  constexpr const char* kTypesKey = "tokenizer.ggml.token_type";
  spec.tokens = metadata.required_strings("tokenizer.ggml.tokens");
  const std::vector<int64_t>* types = metadata.integers(kTypesKey);
  if (types == nullptr) {
    return;
  }
  require(types->size() == spec.tokens.size(), ErrorCode::kInvalidArgument, metadata.file_name(),
          ": ", kTypesKey, " has ", types->size(), " entries for ", spec.tokens.size(), " tokens");
  size_t count = spec.tokens.size();
  while (count > 0 && (*types)[count - 1] == kUnused) {
    --count;
  }
  spec.tokens.resize(count);
  for (size_t id = 0; id < count; ++id) {
    const int64_t type = (*types)[id];
    const bool special = type == kControl || type == kUnknown;
    if ((special || type == kUserDefined) && !spec.tokens[id].empty()) {
      AddedToken token;
      token.id = static_cast<int32_t>(id);
      token.content = spec.tokens[id];
      token.special = special;
      spec.added_tokens.push_back(std::move(token));
    }
    if (type == kUnknown && spec.unk_id < 0) {
      spec.unk_id = static_cast<int32_t>(id);
    }
  }
}

// A special token's id, or -1; `text` becomes its text.
int32_t read_special(const GgufMetadata& metadata, const char* key, const TokenizerSpec& spec,
                     std::string& text) {
  const std::optional<int64_t> id = metadata.integer(key);
  if (!id) {
    return -1;
  }
  require(*id >= 0 && *id < static_cast<int64_t>(spec.tokens.size()), ErrorCode::kInvalidArgument,
          metadata.file_name(), ": ", key, " = ", *id, " is outside the vocabulary of ",
          spec.tokens.size());
  text = spec.tokens[static_cast<size_t>(*id)];
  return static_cast<int32_t>(*id);
}

void read_specials(const GgufMetadata& metadata, bool add_bos, TokenizerSpec& spec) {
  spec.bos_id = read_special(metadata, "tokenizer.ggml.bos_token_id", spec, spec.bos_token);
  spec.eos_id = read_special(metadata, "tokenizer.ggml.eos_token_id", spec, spec.eos_token);
  spec.pad_id = read_special(metadata, "tokenizer.ggml.padding_token_id", spec, spec.pad_token);
  const int32_t unk =
      read_special(metadata, "tokenizer.ggml.unknown_token_id", spec, spec.unk_token);
  if (unk >= 0 && spec.kind == TokenizerKind::kSentencePieceBpe) {
    spec.unk_id = unk;
  }
  if (metadata.boolean("tokenizer.ggml.add_bos_token").value_or(add_bos)) {
    require(spec.bos_id >= 0, ErrorCode::kInvalidArgument, metadata.file_name(),
            ": the tokenizer begins texts with a BOS token, but tokenizer.ggml.bos_token_id is "
            "missing");
    spec.prefix_ids.push_back(spec.bos_id);
  }
  if (metadata.boolean("tokenizer.ggml.add_eos_token").value_or(false) && spec.eos_id >= 0) {
    spec.suffix_ids.push_back(spec.eos_id);
  }
}

void read_merges(const GgufMetadata& metadata, TokenizerSpec& spec) {
  const std::vector<std::string>& merges = metadata.required_strings("tokenizer.ggml.merges");
  spec.merges.reserve(merges.size());
  for (size_t i = 0; i < merges.size(); ++i) {
    // The first token may begin with a space in files of some converters.
    const size_t space = merges[i].find(' ', 1);
    require(space != std::string::npos && space + 1 < merges[i].size(), ErrorCode::kInvalidArgument,
            metadata.file_name(), ": merge ", i, ", \"", merges[i], "\", is not two tokens");
    spec.merges.emplace_back(merges[i].substr(0, space), merges[i].substr(space + 1));
  }
}

void read_byte_level(const GgufMetadata& metadata, TokenizerSpec& spec) {
  const PreTokenizerName& pre = find_pre_tokenizer(metadata);
  spec.kind = TokenizerKind::kByteLevelBpe;
  spec.ignore_merges = pre.ignore_merges;
  read_tokens(metadata, spec);
  read_merges(metadata, spec);
  if (pre.nfc) {
    spec.normalizer.emplace_back().kind = NormalizerStep::Kind::kNfc;
  }
  if (pre.digits) {
    spec.pre_tokenizer.emplace_back().kind = PreTokenizerStep::Kind::kDigits;
  }
  if (!pre.pattern.empty()) {
    PreTokenizerStep& split = spec.pre_tokenizer.emplace_back();
    split.kind = PreTokenizerStep::Kind::kSplit;
    split.pattern = pre.pattern;
  }
  PreTokenizerStep& bytes = spec.pre_tokenizer.emplace_back();
  bytes.kind = PreTokenizerStep::Kind::kByteLevel;
  bytes.use_regex = pre.pattern.empty();
  read_specials(metadata, pre.add_bos, spec);
}

void read_sentencepiece(const GgufMetadata& metadata, TokenizerSpec& spec) {
  spec.kind = TokenizerKind::kSentencePieceBpe;
  spec.byte_fallback = true;
  spec.fuse_unk = true;
  read_tokens(metadata, spec);
  const std::vector<float>* scores = metadata.floats("tokenizer.ggml.scores");
  require(scores != nullptr && scores->size() >= spec.tokens.size(), ErrorCode::kInvalidArgument,
          metadata.file_name(), ": tokenizer.ggml.scores must hold a score for each of ",
          spec.tokens.size(), " tokens");
  spec.scores.assign(scores->begin(),
                     scores->begin() + static_cast<std::ptrdiff_t>(spec.tokens.size()));
  spec.add_prefix_space = metadata.boolean("tokenizer.ggml.add_space_prefix").value_or(true);
  if (spec.add_prefix_space) {
    NormalizerStep& prepend = spec.normalizer.emplace_back();
    prepend.kind = NormalizerStep::Kind::kPrepend;
    prepend.replacement = kSpaceMark;
  }
  NormalizerStep& replace = spec.normalizer.emplace_back();
  replace.kind = NormalizerStep::Kind::kReplace;
  replace.pattern = " ";
  replace.replacement = kSpaceMark;
  read_specials(metadata, true, spec);
}

}  // namespace

std::optional<TokenizerSpec> read_gguf_tokenizer(const GgufMetadata& metadata) {
  const std::string* model = metadata.string("tokenizer.ggml.model");
  if (model == nullptr || *model == "no_vocab" || *model == "none") {
    return std::nullopt;
  }
  TokenizerSpec spec;
  if (*model == "gpt2") {
    read_byte_level(metadata, spec);
  } else {
    require(*model == "llama", ErrorCode::kUnsupported, metadata.file_name(),
            ": tokenizer.ggml.model \"", *model, "\" is not supported (only gpt2 and llama)");
    read_sentencepiece(metadata, spec);
  }
  return spec;
}

}  // namespace lychee::io
