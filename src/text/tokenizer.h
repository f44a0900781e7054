#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/model_files.h"

namespace lychee::text {

// Text to token ids and back. Immutable after construction; all methods are const and may be called
// from several threads at once.
class Tokenizer {
 public:
  // Throws Error(kUnsupported) that names a construct we do not run, Error(kInvalidArgument) for a
  // specification that contradicts itself.
  explicit Tokenizer(io::TokenizerSpec spec);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  // Special tokens in the text are recognised. With `add_prefix`, the model's own leading tokens
  // (BOS) come first; a text that already begins with them gets no second copy.
  // Invalid UTF-8 bytes are encoded as U+FFFD. Throws Error(kInvalidArgument) for a word that a
  // word tokenizer does not have.
  [[nodiscard]] std::vector<int32_t> encode(std::string_view text, bool add_prefix) const;

  // Invalid UTF-8 in the result becomes U+FFFD. Throws Error(kInvalidArgument) for an id outside
  // the vocabulary.
  [[nodiscard]] std::string decode(std::span<const int32_t> ids, bool skip_special) const;

  // The bytes of one token, which may be part of a character. "" for a special token if skipped.
  [[nodiscard]] std::string token_bytes(int32_t id, bool skip_special) const;

  [[nodiscard]] int32_t vocab_size() const;  // ids at or above it are padding rows, never sampled
  [[nodiscard]] bool is_special(int32_t id) const;
  // The id of a token's exact text, or -1.
  [[nodiscard]] int32_t token_id(std::string_view token) const;
  // What it was built from, less tokens, merges and scores.
  [[nodiscard]] const io::TokenizerSpec& spec() const;
  // Decoding takes one space away from the beginning: encoding put it there.
  [[nodiscard]] bool strips_leading_space() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Decodes a stream of ids into text that never splits a UTF-8 character.
class StreamDecoder {
 public:
  StreamDecoder(const Tokenizer& tokenizer, bool skip_special);
  // The text that `id` completes; may be empty.
  [[nodiscard]] std::string push(int32_t id);
  // What is left at the end; incomplete bytes become U+FFFD.
  [[nodiscard]] std::string finish();

 private:
  const Tokenizer& tokenizer_;
  bool skip_special_;
  std::string pending_;
  bool first_;  // the next bytes may begin with a space to take away
};

}  // namespace lychee::text
