#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "base/check.h"
#include "text/tokenizer_pieces.h"
#include "text/tokenizer_utf8.h"

namespace lychee::text {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581 stands for a space

// Trying every split of a token costs the square of its length.
constexpr size_t kMaxScoredTokenBytes = 1024;

std::string byte_token(unsigned byte) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  return {'<', '0', 'x', kDigits[byte >> 4U], kDigits[byte & 15U], '>'};
}

// Ranks by score: SentencePiece merges the pair whose result scores highest.
std::vector<int32_t> rank_scores(const std::vector<float>& scores) {
  std::vector<float> distinct = scores;
  std::sort(distinct.begin(), distinct.end(), std::greater<>());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  std::vector<int32_t> ranks;
  ranks.reserve(scores.size());
  for (const float score : scores) {
    const auto at = std::lower_bound(distinct.begin(), distinct.end(), score, std::greater<>());
    ranks.push_back(static_cast<int32_t>(at - distinct.begin()));
  }
  return ranks;
}

struct ScoredPair {
  int32_t left;
  int32_t right;
  Merge merge;
};

void append_splits(const Vocabulary& vocabulary, Merge merge, std::vector<ScoredPair>& out) {
  const std::string_view token = vocabulary.token(merge.id);
  require(token.size() <= kMaxScoredTokenBytes, ErrorCode::kUnsupported, "the tokenizer's token ",
          merge.id, " has ", token.size(), " bytes; ", kMaxScoredTokenBytes, " are supported");
  if (token.empty()) {
    return;
  }
  for (size_t at = char_length(token[0]); at < token.size(); at += char_length(token[at])) {
    const int32_t left = vocabulary.find(token.substr(0, at));
    const int32_t right = left < 0 ? -1 : vocabulary.find(token.substr(at));
    if (right >= 0) {
      out.push_back({left, right, merge});
    }
  }
}

// Every way to make a token of two others, ranked by its score.
MergeTable make_scored_table(const io::TokenizerSpec& spec, const Vocabulary& vocabulary) {
  require(spec.scores.size() == spec.tokens.size(), ErrorCode::kInvalidArgument,
          "the tokenizer has ", spec.scores.size(), " scores for ", spec.tokens.size(), " tokens");
  require(std::none_of(spec.scores.begin(), spec.scores.end(),
                       [](float score) { return std::isnan(score); }),
          ErrorCode::kInvalidArgument, "a score of the tokenizer is not a number");
  std::vector<bool> never_merged(spec.tokens.size());
  for (const io::AddedToken& token : spec.added_tokens) {
    never_merged[static_cast<size_t>(token.id)] = true;
  }
  const std::vector<int32_t> ranks = rank_scores(spec.scores);
  std::vector<ScoredPair> pairs;
  for (size_t id = 0; id < spec.tokens.size(); ++id) {
    if (!never_merged[id]) {
      append_splits(vocabulary, {ranks[id], static_cast<int32_t>(id)}, pairs);
    }
  }
  MergeTable table(pairs.size());
  for (const ScoredPair& pair : pairs) {
    table.insert(pair.left, pair.right, pair.merge);
  }
  return table;
}

// True when no token has a space mark after another character: then nothing merges across the
// beginning of a run of marks, and text may be cut there. (A mark that is no token could be part of
// a run of unknown characters, which becomes one token.)
bool marks_only_lead(const io::TokenizerSpec& spec, const Vocabulary& vocabulary) {
  return vocabulary.find(kSpaceMark) >= 0 &&
         std::none_of(spec.tokens.begin(), spec.tokens.end(), [](const std::string& token) {
           for (size_t at = token.find(kSpaceMark, 1); at != std::string::npos;
                at = token.find(kSpaceMark, at + 1)) {
             if (!std::string_view(token).substr(0, at).ends_with(kSpaceMark)) {
               return true;
             }
           }
           return false;
         });
}

class SentencePieceEncoder final : public PieceEncoder {
 public:
  SentencePieceEncoder(const io::TokenizerSpec& spec, const Vocabulary& vocabulary)
      : vocabulary_(vocabulary),
        merges_(spec.scores.empty() ? make_merge_table(spec, vocabulary)
                                    : make_scored_table(spec, vocabulary)),
        cuts_at_marks_(marks_only_lead(spec, vocabulary)),
        ignore_merges_(spec.ignore_merges),
        byte_fallback_(spec.byte_fallback),
        fuse_unk_(spec.fuse_unk),
        unk_id_(spec.unk_id) {
    for (unsigned byte = 0; byte < byte_ids_.size(); ++byte) {
      byte_ids_[byte] = byte_fallback_ ? vocabulary.find(byte_token(byte)) : -1;
    }
    byte_of_.assign(static_cast<size_t>(vocabulary.size()), -1);
    for (unsigned byte = 0; byte < byte_ids_.size(); ++byte) {
      if (byte_ids_[byte] >= 0) {
        byte_of_[static_cast<size_t>(byte_ids_[byte])] = static_cast<int16_t>(byte);
      }
    }
  }

  void encode(std::string_view piece, PieceScratch& scratch,
              std::vector<int32_t>& out) const override {
    if (ignore_merges_) {
      const int32_t whole = vocabulary_.find(piece);
      if (whole >= 0) {
        out.push_back(whole);
        return;
      }
    }
    while (!piece.empty()) {
      const std::string_view chunk =
          piece.substr(0, cuts_at_marks_ ? next_cut(piece) : piece.size());
      encode_cached(chunk, scratch.cache, out,
                    [&](std::string_view text, std::vector<int32_t>& ids) {
                      encode_chunk(text, scratch, ids);
                    });
      piece.remove_prefix(chunk.size());
    }
  }

  [[nodiscard]] std::string bytes_of(int32_t id) const override {
    const int16_t byte = byte_of_[static_cast<size_t>(id)];
    if (byte >= 0) {
      return {static_cast<char>(byte)};
    }
    std::string text = vocabulary_.token(id);
    for (size_t at = text.find(kSpaceMark); at != std::string::npos;
         at = text.find(kSpaceMark, at + 1)) {
      text.replace(at, kSpaceMark.size(), " ");
    }
    return text;
  }

 private:
  // Where the next run of space marks begins, after the one that the piece may begin with.
  static size_t next_cut(std::string_view piece) {
    size_t begin = 0;
    while (piece.substr(begin).starts_with(kSpaceMark)) {
      begin += kSpaceMark.size();
    }
    return std::min(piece.find(kSpaceMark, begin), piece.size());
  }

  void encode_chunk(std::string_view chunk, PieceScratch& scratch,
                    std::vector<int32_t>& out) const {
    scratch.symbols.clear();
    bool after_unknown = false;
    while (!chunk.empty()) {
      const std::string_view c = chunk.substr(0, char_length(chunk[0]));
      chunk.remove_prefix(c.size());
      const int32_t id = vocabulary_.find(c);
      const bool known = id >= 0 || append_bytes(c, scratch.symbols);
      if (id >= 0) {
        scratch.symbols.push_back(id);
      } else if (!known && unk_id_ >= 0 && !(fuse_unk_ && after_unknown)) {
        scratch.symbols.push_back(unk_id_);
      }
      after_unknown = !known;
    }
    scratch.merger.merge(merges_, scratch.symbols);
    out.insert(out.end(), scratch.symbols.begin(), scratch.symbols.end());
  }

  // A character outside the vocabulary as byte tokens; false when one of those is missing.
  bool append_bytes(std::string_view c, std::vector<int32_t>& out) const {
    const size_t before = out.size();
    for (const char byte : c) {
      const int32_t id = byte_ids_[static_cast<unsigned char>(byte)];
      if (id < 0) {
        out.resize(before);
        return false;
      }
      out.push_back(id);
    }
    return true;
  }

  const Vocabulary& vocabulary_;
  MergeTable merges_;
  bool cuts_at_marks_;
  bool ignore_merges_;
  bool byte_fallback_;
  bool fuse_unk_;
  int32_t unk_id_;
  std::array<int32_t, 256> byte_ids_{};
  std::vector<int16_t> byte_of_;  // by id; -1: no byte token
};

}  // namespace

std::unique_ptr<PieceEncoder> make_sentencepiece_encoder(const io::TokenizerSpec& spec,
                                                         const Vocabulary& vocabulary) {
  return std::make_unique<SentencePieceEncoder>(spec, vocabulary);
}

}  // namespace lychee::text
