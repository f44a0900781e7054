#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "io/model_files.h"
#include "text/tokenizer_bpe.h"
#include "text/tokenizer_cache.h"
#include "text/tokenizer_vocabulary.h"

namespace lychee::text {

// What one call of encode needs to work with.
struct PieceScratch {
  explicit PieceScratch(size_t text_bytes) : cache(text_bytes) {}
  PieceCache cache;
  BpeMerger merger;
  std::vector<int32_t> symbols;
};

// Turns pieces into ids and ids into bytes: one subclass per kind of tokenizer. Immutable.
class PieceEncoder {
 public:
  virtual ~PieceEncoder() = default;
  // Appends the ids of a piece (valid UTF-8, not empty).
  virtual void encode(std::string_view piece, PieceScratch& scratch,
                      std::vector<int32_t>& out) const = 0;
  // The bytes that a token of the vocabulary stands for.
  [[nodiscard]] virtual std::string bytes_of(int32_t id) const = 0;
};

// `vocabulary` must outlive the result. Throws Error(kInvalidArgument) for merges of tokens that do
// not exist.
[[nodiscard]] std::unique_ptr<PieceEncoder> make_byte_level_encoder(const io::TokenizerSpec& spec,
                                                                    const Vocabulary& vocabulary);
[[nodiscard]] std::unique_ptr<PieceEncoder> make_sentencepiece_encoder(
    const io::TokenizerSpec& spec, const Vocabulary& vocabulary);
[[nodiscard]] std::unique_ptr<PieceEncoder> make_word_encoder(const io::TokenizerSpec& spec,
                                                              const Vocabulary& vocabulary);

// The table of merges that a specification lists, by rank.
[[nodiscard]] MergeTable make_merge_table(const io::TokenizerSpec& spec,
                                          const Vocabulary& vocabulary);

// Answers from the cache, or calls `encode_piece(piece, out)` and remembers its ids.
template <typename Fn>
void encode_cached(std::string_view piece, PieceCache& cache, std::vector<int32_t>& out,
                   Fn&& encode_piece) {
  if (piece.size() > PieceCache::kMaxPieceBytes) {
    encode_piece(piece, out);
    return;
  }
  const PieceCache::Key key = PieceCache::key_of(piece);
  if (cache.lookup(key, out)) {
    return;
  }
  const size_t begin = out.size();
  encode_piece(piece, out);
  cache.store(key, std::span<const int32_t>(out).subspan(begin));
}

}  // namespace lychee::text
