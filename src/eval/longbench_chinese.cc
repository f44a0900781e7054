// LongBench's metrics of Chinese texts.
#include <string>
#include <vector>

#include "eval/longbench_metrics.h"
#include "eval/unicode.h"
#include "text/lower_case.h"

namespace lychee::eval {
namespace {

// Marks that LongBench takes out of Chinese words, besides those of ASCII. Not all there are: of
// the marks around a book's title it takes the closing one alone.
constexpr std::u32string_view kChinesePunctuation =
    U"\uff01\uff1f\uff61\u3002\uff02\uff03\uff04\uff05\uff06\uff07\uff08\uff09\uff0a\uff0b\uff0c"
    U"\uff0d\uff0f\uff1a\uff1b\uff1c\uff1d\uff1e\uff20\uff3b\uff3c\uff3d\uff3e\uff3f\uff40\uff5b"
    U"\uff5c\uff5d\uff5e\uff5f\uff60\uff62\uff63\uff64\u3001\u3003\u300b\u300c\u300d\u300e\u300f"
    U"\u3010\u3011\u3014\u3015\u3016\u3017\u3018\u3019\u301a\u301b\u301c\u301d\u301e\u301f\u3030"
    U"\u303e\u303f\u2013\u2014\u2018\u2019\u201b\u201c\u201d\u201e\u201f\u2026\u2027\ufe4f";

// Words in lower case and without punctuation; what is left of none is no word.
std::vector<std::u32string> words_of(std::string_view text, const text::WordSegmenter& segmenter) {
  std::vector<std::u32string> words;
  const std::u32string points = to_code_points(text);
  for (const std::u32string_view piece : segmenter.cut(points)) {
    std::u32string word = text::to_lower_case(piece);
    std::erase_if(word, [](char32_t c) {
      return is_space(c) || is_ascii_punctuation(c) ||
             kChinesePunctuation.find(c) != std::u32string_view::npos;
    });
    if (!word.empty()) {
      words.push_back(std::move(word));
    }
  }
  return words;
}

std::string spaced(std::string_view text, const text::WordSegmenter& segmenter) {
  std::u32string line;
  const std::u32string points = to_code_points(text);
  for (const std::u32string_view piece : segmenter.cut(points)) {
    line.append(line.empty() ? U"" : U" ").append(piece);
  }
  return to_utf8(line);
}

}  // namespace

double qa_f1_chinese(std::string_view text, std::string_view reference,
                     const text::WordSegmenter& segmenter) {
  return words_f1(words_of(text, segmenter), words_of(reference, segmenter));
}

double rouge_l_chinese(std::string_view text, std::string_view reference,
                       const text::WordSegmenter& segmenter) {
  return rouge_l(spaced(text, segmenter), spaced(reference, segmenter));
}

}  // namespace lychee::eval
