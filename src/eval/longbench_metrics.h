#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/word_segmenter.h"

namespace lychee::eval {

// LongBench's metrics of a text against one reference, in [0, 1], quirks included.

// F1 of two lists of words; their order does not matter.
[[nodiscard]] double words_f1(const std::vector<std::u32string>& said,
                              const std::vector<std::u32string>& wanted);
// F1 of words after lower-casing and without punctuation and articles.
[[nodiscard]] double qa_f1(std::string_view text, std::string_view reference);
// ROUGE-L as PyPI's `rouge` has it: union of the sentences' common subsequences, each word once.
[[nodiscard]] double rouge_l(std::string_view text, std::string_view reference);
// The same two of Chinese texts, whose words are jieba's.
[[nodiscard]] double qa_f1_chinese(std::string_view text, std::string_view reference,
                                   const text::WordSegmenter& segmenter);
[[nodiscard]] double rouge_l_chinese(std::string_view text, std::string_view reference,
                                     const text::WordSegmenter& segmenter);
// One over the number of classes that the text names, if the right one is among them. A class whose
// name is part of the right one's is not counted, save directly after another such (the published
// loop removes from the list that it walks).
[[nodiscard]] double classification(std::string_view text, std::string_view reference,
                                    const std::vector<std::string>& classes);
// Share of the text's numbers that are the one after "Paragraph " (or `word`) in the reference.
// Throws Error(kInvalidArgument) for a reference without one.
[[nodiscard]] double retrieval(std::string_view text, std::string_view reference,
                               std::string_view word);
// Share of the text's numbers that are the reference.
[[nodiscard]] double count_match(std::string_view text, std::string_view reference);
// Likeness of the first line that holds no `, # or // to the reference, in whole percents.
[[nodiscard]] double code_similarity(std::string_view text, std::string_view reference);

}  // namespace lychee::eval
