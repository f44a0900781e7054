#include "text/tokenizer.h"

#include <algorithm>

#include "base/check.h"
#include "text/tokenizer_added.h"
#include "text/tokenizer_normalizer.h"
#include "text/tokenizer_pieces.h"
#include "text/tokenizer_pretokenizer.h"
#include "text/tokenizer_utf8.h"
#include "text/tokenizer_vocabulary.h"

namespace lychee::text {
namespace {

std::vector<io::PreTokenizerStep> steps_of(const io::TokenizerSpec& spec) {
  std::vector<io::PreTokenizerStep> steps = spec.pre_tokenizer;
  if (spec.kind == io::TokenizerKind::kWords) {
    steps.emplace_back().kind = io::PreTokenizerStep::Kind::kWhitespaceWords;
  }
  return steps;
}

std::unique_ptr<PieceEncoder> make_encoder(const io::TokenizerSpec& spec,
                                           const Vocabulary& vocabulary) {
  switch (spec.kind) {
    case io::TokenizerKind::kByteLevelBpe:
      return make_byte_level_encoder(spec, vocabulary);
    case io::TokenizerKind::kSentencePieceBpe:
      return make_sentencepiece_encoder(spec, vocabulary);
    case io::TokenizerKind::kWords:
      return make_word_encoder(spec, vocabulary);
  }
  fail(ErrorCode::kInternal, "unknown tokenizer kind");
}

// Encodes every piece into `ids` as it comes.
class EncodeCall final : public PieceSink {
 public:
  EncodeCall(const PieceEncoder& encoder, size_t text_bytes)
      : encoder_(encoder), scratch_(text_bytes) {}

  void take(std::string_view piece) override { encoder_.encode(piece, scratch_, ids); }

  std::vector<int32_t> ids;
  PreTokenizer::Scratch patterns;

 private:
  const PieceEncoder& encoder_;
  PieceScratch scratch_;
};

bool begins_with(const std::vector<int32_t>& ids, const std::vector<int32_t>& prefix) {
  return ids.size() >= prefix.size() && std::equal(prefix.begin(), prefix.end(), ids.begin());
}

}  // namespace

struct Tokenizer::Impl {
  explicit Impl(io::TokenizerSpec source);

  void add_tokens();
  void encode_segment(std::string_view text, bool at_start, EncodeCall& call) const;

  io::TokenizerSpec spec;
  Vocabulary vocabulary;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  std::unique_ptr<PieceEncoder> encoder;
  AddedTokenMatcher raw_tokens;         // looked for before normalisation
  AddedTokenMatcher normalized_tokens;  // looked for after it
  std::vector<bool> special;            // by id
  std::vector<bool> added;              // by id: its text stands for itself
};

Tokenizer::Impl::Impl(io::TokenizerSpec source)
    : spec(std::move(source)),
      vocabulary(spec.tokens),
      normalizer(spec.normalizer),
      pre_tokenizer(steps_of(spec)) {
  for (const io::AddedToken& token : spec.added_tokens) {
    vocabulary.check_id(token.id, "the added token " + token.content + " has an id that");
  }
  for (const int32_t id : spec.prefix_ids) {
    vocabulary.check_id(id, "the leading token");
  }
  if (spec.unk_id != -1) {
    vocabulary.check_id(spec.unk_id, "the unknown token");
  }
  encoder = make_encoder(spec, vocabulary);
  add_tokens();
  spec.tokens = {};
  spec.merges = {};
  spec.scores = {};
}

void Tokenizer::Impl::add_tokens() {
  special.resize(static_cast<size_t>(vocabulary.size()));
  added.resize(special.size());
  std::string storage;
  for (const io::AddedToken& token : spec.added_tokens) {
    special[static_cast<size_t>(token.id)] = token.special;
    added[static_cast<size_t>(token.id)] = true;
    if (token.normalized) {
      normalized_tokens.add(normalizer.apply(token.content, storage), token);
    } else {
      raw_tokens.add(token.content, token);
    }
  }
}

void Tokenizer::Impl::encode_segment(std::string_view text, bool at_start, EncodeCall& call) const {
  std::string storage;
  std::vector<AddedTokenMatcher::Segment> segments;
  normalized_tokens.split(normalizer.apply(text, storage), segments);
  for (const AddedTokenMatcher::Segment& segment : segments) {
    if (segment.id >= 0) {
      call.ids.push_back(segment.id);
    } else {
      pre_tokenizer.run(segment.text, at_start, call.patterns, call);
    }
    at_start = false;
  }
}

Tokenizer::Tokenizer(io::TokenizerSpec spec) : impl_(std::make_unique<Impl>(std::move(spec))) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_prefix) const {
  std::string storage;
  text = valid_utf8(text, storage);
  std::vector<AddedTokenMatcher::Segment> segments;
  impl_->raw_tokens.split(text, segments);
  EncodeCall call(*impl_->encoder, text.size());
  for (const AddedTokenMatcher::Segment& segment : segments) {
    if (segment.id >= 0) {
      call.ids.push_back(segment.id);
    } else {
      impl_->encode_segment(segment.text, segment.text.data() == text.data(), call);
    }
  }
  const std::vector<int32_t>& prefix = impl_->spec.prefix_ids;
  if (add_prefix && !begins_with(call.ids, prefix)) {
    call.ids.insert(call.ids.begin(), prefix.begin(), prefix.end());
  }
  return std::move(call.ids);
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  StreamDecoder decoder(*this, skip_special);
  std::string text;
  for (const int32_t id : ids) {
    text += decoder.push(id);
  }
  return text += decoder.finish();
}

std::string Tokenizer::token_bytes(int32_t id, bool skip_special) const {
  impl_->vocabulary.check_id(id, "token id");
  const auto index = static_cast<size_t>(id);
  if (skip_special && impl_->special[index]) {
    return "";
  }
  return impl_->added[index] ? impl_->vocabulary.token(id) : impl_->encoder->bytes_of(id);
}

int32_t Tokenizer::vocab_size() const {
  return impl_->vocabulary.size();
}

bool Tokenizer::is_special(int32_t id) const {
  return id >= 0 && id < vocab_size() && impl_->special[static_cast<size_t>(id)];
}

int32_t Tokenizer::token_id(std::string_view token) const {
  return impl_->vocabulary.find(token);
}

const io::TokenizerSpec& Tokenizer::spec() const {
  return impl_->spec;
}

bool Tokenizer::strips_leading_space() const {
  return impl_->spec.add_prefix_space || impl_->spec.kind == io::TokenizerKind::kWords;
}

}  // namespace lychee::text
