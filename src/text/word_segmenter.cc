#include "text/word_segmenter.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/check.h"
#include "base/mapped_file.h"

namespace lychee::text {
namespace {

namespace fs = std::filesystem;
using Pieces = std::vector<std::u32string_view>;

// A file of jieba, open as long as this lives.
class DataFile {
 public:
  DataFile(const fs::path& folder, const char* name) : path_(folder / name) {
    std::error_code error;
    require(fs::is_regular_file(path_, error), ErrorCode::kInvalidArgument, "no file ",
            path_.string(),
            ": Chinese words are cut with jieba's data; install Debian's python3-jieba or name "
            "the folder that holds it");
    file_ = MappedFile(path_);
  }
  [[nodiscard]] std::string_view text() const {
    return {reinterpret_cast<const char*>(file_.bytes().data()), file_.bytes().size()};
  }
  [[nodiscard]] WordChain::Source source() const { return {path_.string(), text()}; }

 private:
  fs::path path_;
  MappedFile file_;
};

WordDictionary open_dictionary(const fs::path& folder) {
  const DataFile file(folder, "dict.txt");
  return {(folder / "dict.txt").string(), file.text()};
}

WordChain open_chain(const fs::path& folder) {
  const DataFile start(folder, "finalseg/prob_start.py");
  const DataFile transitions(folder, "finalseg/prob_trans.py");
  const DataFile emissions(folder, "finalseg/prob_emit.py");
  return {start.source(), transitions.source(), emissions.source()};
}

bool is_han(char32_t c) {
  return c >= WordChain::kFirst && c <= WordChain::kLast;
}
bool is_latin(char32_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}
// What words of the dictionary consist of.
bool is_of_words(char32_t c) {
  return is_han(c) || is_latin(c) ||
         std::u32string_view(U"+#&._%-").find(c) != std::u32string_view::npos;
}

// Characters from `begin` on for which `is_one` holds.
size_t run_length(std::u32string_view text, size_t begin, bool (*is_one)(char32_t)) {
  const auto first = text.begin() + static_cast<std::ptrdiff_t>(begin);
  return static_cast<size_t>(std::find_if_not(first, text.end(), is_one) - first);
}

// Length of a word or number of Latin letters and digits with a fraction and a percent sign.
size_t latin_length(std::u32string_view text, size_t begin) {
  const auto is_digit = [](char32_t c) { return c >= '0' && c <= '9'; };
  size_t end = begin + run_length(text, begin, is_latin);
  if (end > begin && end + 1 < text.size() && text[end] == '.') {
    const size_t digits = run_length(text, end + 1, is_digit);
    end += digits > 0 ? 1 + digits : 0;
  }
  return end > begin && end < text.size() && text[end] == '%' ? end + 1 - begin : end - begin;
}

// One run of characters that words consist of.
class RunCutter {
 public:
  RunCutter(const WordDictionary& dictionary, const WordChain& chain, std::u32string_view run,
            Pieces& pieces)
      : dictionary_(dictionary), chain_(chain), run_(run), pieces_(pieces) {}

  void cut() {
    const std::vector<size_t> ends = likeliest_ends();
    size_t alone = 0;  // where the characters begin that stand alone before `at`
    for (size_t at = 0; at < run_.size(); at = ends[at]) {
      if (ends[at] - at > 1) {
        cut_loose(run_.substr(alone, at - alone));
        pieces_.push_back(run_.substr(at, ends[at] - at));
        alone = ends[at];
      }
    }
    cut_loose(run_.substr(alone));
  }

 private:
  // For each position the end of the word that begins there on the likeliest way to the end.
  [[nodiscard]] std::vector<size_t> likeliest_ends() const {
    const double log_total = std::log(static_cast<double>(dictionary_.total()));
    std::vector<size_t> ends(run_.size());
    std::vector<double> best(run_.size() + 1);
    std::vector<WordDictionary::Match> matches;
    for (size_t at = run_.size(); at-- > 0;) {
      dictionary_.match(run_.substr(at), matches);
      if (matches.empty()) {
        matches.push_back({1, 1});  // an unknown character counts as one that occurred once
      }
      for (const auto& [length, count] : matches) {
        const double way = std::log(static_cast<double>(count)) - log_total + best[at + length];
        // Of equals, the longer word.
        if (ends[at] == 0 || way >= best[at]) {
          best[at] = way;
          ends[at] = at + length;
        }
      }
    }
    return ends;
  }

  // Characters that are no part of longer words.
  void cut_loose(std::u32string_view loose) {
    if (loose.size() > 1 && dictionary_.count(loose) == 0) {
      cut_unknown(loose);
      return;
    }
    for (size_t i = 0; i < loose.size(); ++i) {
      pieces_.push_back(loose.substr(i, 1));
    }
  }

  void cut_unknown(std::u32string_view loose) {
    for (size_t at = 0; at < loose.size();) {
      size_t length = run_length(loose, at, is_han);
      if (length > 0) {
        size_t begin = 0;
        for (const size_t end : chain_.word_ends(loose.substr(at, length))) {
          pieces_.push_back(loose.substr(at + begin, end - begin));
          begin = end;
        }
      } else {
        length = latin_length(loose, at);
        if (length == 0) {
          length = run_length(loose, at, [](char32_t c) { return !is_han(c) && !is_latin(c); });
        }
        pieces_.push_back(loose.substr(at, length));
      }
      at += length;
    }
  }

  const WordDictionary& dictionary_;
  const WordChain& chain_;
  std::u32string_view run_;
  Pieces& pieces_;
};

}  // namespace

WordSegmenter::WordSegmenter(const fs::path& folder)
    : dictionary_(open_dictionary(folder)), chain_(open_chain(folder)) {}

Pieces WordSegmenter::cut(std::u32string_view text) const {
  Pieces pieces;
  for (size_t at = 0; at < text.size();) {
    size_t length = run_length(text, at, is_of_words);
    if (length > 0) {
      RunCutter(dictionary_, chain_, text.substr(at, length), pieces).cut();
    } else {
      length = text.substr(at).starts_with(U"\r\n") ? 2 : 1;
      pieces.push_back(text.substr(at, length));
    }
    at += length;
  }
  return pieces;
}

fs::path default_word_folder() {
  return "/usr/lib/python3/dist-packages/jieba";
}

}  // namespace lychee::text
