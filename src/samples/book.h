#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lychee::samples {

// A text as words, with white space evened out. Moving it leaves the words valid.
class Book {
 public:
  // Throws Error(kInvalidArgument) for a text without words.
  explicit Book(std::string_view text);

  [[nodiscard]] int64_t num_words() const { return static_cast<int64_t>(words_.size()); }
  // Word `index` of the endless repetition of the text.
  [[nodiscard]] const std::string& word(int64_t index) const {
    return words_[static_cast<size_t>(index % num_words())];
  }
  [[nodiscard]] bool ends_sentence(int64_t index) const;
  // The first word after a sentence at or after word `index`, in [0, num_words).
  [[nodiscard]] int64_t sentence_start(int64_t index) const;
  // `count` words from word `start` on, as text.
  [[nodiscard]] std::string excerpt(int64_t start, int64_t count) const;

 private:
  std::vector<std::string> words_;
};

// The two chapters of examples/persuasion.txt, which are part of the program.
[[nodiscard]] Book default_book();

// Common English words of 4 to 8 letters, none of them part of another, drawn from six novels in
// the public domain; sorted.
[[nodiscard]] std::vector<std::string> word_list();

}  // namespace lychee::samples
