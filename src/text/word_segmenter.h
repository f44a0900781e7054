#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

#include "text/word_chain.h"
#include "text/word_dictionary.h"

namespace lychee::text {

// Cuts Chinese text into words as the Python library jieba does by default: of all ways to cut a
// run into words of a dictionary it takes the likeliest; characters that stay alone are joined by a
// hidden Markov model. Reads jieba's own data and needs no Python. Immutable.
class WordSegmenter {
 public:
  // `folder` holds dict.txt and finalseg/prob_start.py, prob_trans.py and prob_emit.py. Throws
  // Error(kInvalidArgument) when a file is missing, which names Debian's package, or unusable.
  explicit WordSegmenter(const std::filesystem::path& folder);

  // The pieces of `text` in order, without gaps. White space and punctuation are pieces too.
  [[nodiscard]] std::vector<std::u32string_view> cut(std::u32string_view text) const;

 private:
  WordDictionary dictionary_;
  WordChain chain_;
};

// Where Debian's python3-jieba puts what a segmenter reads.
[[nodiscard]] std::filesystem::path default_word_folder();

}  // namespace lychee::text
