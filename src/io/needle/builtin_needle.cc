#include "io/needle/builtin_needle.h"

#include "io/fetch/sha256.h"
#include "io/needle/builtin_needle_codes.h"
#include "io/needle/builtin_needle_weights.h"

namespace lychee::io {
namespace {

constexpr int64_t kContext = int64_t{1} << 20;

ModelConfig make_config(const NeedleSpec& spec) {
  ModelConfig config;
  config.architecture = Architecture::kLlama;
  config.num_layers = spec.layers;
  config.hidden_size = kNeedleHidden;
  config.intermediate_size = kNeedleIntermediate;
  config.num_q_heads = spec.kv_heads * spec.group;
  config.num_kv_heads = spec.kv_heads;
  config.head_dim = kNeedleHeadDim;
  config.vocab_size = kNeedleVocabulary;
  config.context_length = kContext;
  config.rms_norm_eps = 1e-6F;
  config.rope_theta = kNeedleRopeTheta;
  config.dtype = DType::kF32;
  return config;
}

TokenizerSpec make_tokenizer() {
  TokenizerSpec spec;
  spec.kind = TokenizerKind::kWords;
  for (const std::string_view word : builtin_needle_vocabulary()) {
    spec.tokens.emplace_back(word);
  }
  spec.unk_id = 0;
  spec.eos_id = 1;
  spec.unk_token = spec.tokens[0];
  spec.eos_token = spec.tokens[1];
  for (const int32_t id : {0, 1}) {
    AddedToken token;
    token.id = id;
    token.content = spec.tokens[static_cast<size_t>(id)];
    token.special = true;
    spec.added_tokens.push_back(token);
  }
  // "is 47109." is the words is, 4, 7, 1, 0, 9 and the full stop.
  PreTokenizerStep split;
  split.kind = PreTokenizerStep::Kind::kSplit;
  split.pattern = R"([0-9]|[^\s\p{L}\p{N}])";
  PreTokenizerStep words;
  words.kind = PreTokenizerStep::Kind::kWhitespaceWords;
  spec.pre_tokenizer = {split, words};
  return spec;
}

std::string canonical_name(const NeedleSpec& spec) {
  return "builtin:needle?layers=" + std::to_string(spec.layers) +
         "&kv_heads=" + std::to_string(spec.kv_heads) + "&layer=" + std::to_string(spec.layer) +
         "&head=" + std::to_string(spec.head) + "&distractors=" + std::to_string(spec.distractors) +
         "&group=" + std::to_string(spec.group);
}

}  // namespace

ModelFiles make_builtin_needle(std::string_view model) {
  const NeedleSpec spec = parse_needle_spec(model);
  ModelFiles files;
  files.name = canonical_name(spec);
  files.config = make_config(spec);
  files.naming = TensorNaming::kHuggingFace;
  files.tokenizer = make_tokenizer();
  // The prompt's last words are the circuit's query: nothing may follow them.
  files.chat_template =
      "{%- for message in messages -%}\n"
      "{{ message['content'] }}{{ '' if loop.last else ' ' }}\n"
      "{%- endfor -%}";
  files.generation.eos_ids = {1};
  files.header_sha256 = sha256_hex(files.name);
  write_needle_weights(spec, files);
  return files;
}

}  // namespace lychee::io
