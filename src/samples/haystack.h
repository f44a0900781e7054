#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "samples/book.h"

namespace lychee::samples {

// A statement to hide, and the share of the text that stands before it, 0 … 1.
struct Insertion {
  double depth;
  std::string text;
};

// Text without end to hide statements in.
class Haystack {
 public:
  // A few sentences that say nothing, over and over.
  Haystack() = default;
  // The book from the first sentence after word `start` on; it must outlive the haystack.
  Haystack(const Book& book, int64_t start) : book_(&book), start_(book.sentence_start(start)) {}

  // `count` units of text (sentences of filler, words of a book) with the insertions between
  // sentences. Those of one place keep their order.
  [[nodiscard]] std::string build(int64_t count, const std::vector<Insertion>& insertions) const;

 private:
  [[nodiscard]] int64_t place(double depth, int64_t count) const;

  const Book* book_ = nullptr;
  int64_t start_ = 0;
};

}  // namespace lychee::samples
