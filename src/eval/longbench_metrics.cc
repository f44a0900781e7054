#include "eval/longbench_metrics.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/check.h"
#include "eval/sequence_match.h"
#include "eval/unicode.h"
#include "text/lower_case.h"

namespace lychee::eval {
namespace {

using Words = std::vector<std::u32string>;

// A letter, a digit or an underscore, as far as texts of LongBench go.
bool is_word(char32_t c) {
  if (c < 0x80) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
  }
  const bool mark = (c < 0xC0 && c != 0xAA && c != 0xB5 && c != 0xBA) || c == 0xD7 || c == 0xF7 ||
                    (c >= 0x2000 && c <= 0x206F) || (c >= 0x20A0 && c <= 0x20CF) ||
                    (c >= 0x2190 && c <= 0x23FF) || (c >= 0x3000 && c <= 0x3004) ||
                    (c >= 0x3008 && c <= 0x3020) || (c >= 0xFF00 && c <= 0xFF0F) || c == 0xFFFD;
  return !mark;
}

Words split_white(std::u32string_view text) {
  Words words;
  std::u32string word;
  for (const char32_t c : text) {
    if (!is_space(c)) {
      word += c;
    } else if (!word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  }
  if (!word.empty()) {
    words.push_back(std::move(word));
  }
  return words;
}

// Lower case, without punctuation and articles.
Words normalized_words(std::string_view text) {
  std::u32string clean;
  for (const char32_t c : text::to_lower_case(to_code_points(text))) {
    if (!is_ascii_punctuation(c)) {
      clean += c;
    }
  }
  std::u32string kept;
  for (size_t i = 0; i < clean.size();) {
    size_t end = i;
    while (end < clean.size() && is_word(clean[end])) {
      ++end;
    }
    const std::u32string_view word = std::u32string_view(clean).substr(i, end - i);
    if (word == U"a" || word == U"an" || word == U"the") {
      kept += U' ';
    } else {
      kept += word;
    }
    if (end < clean.size()) {
      kept += clean[end];
    }
    i = end + 1;
  }
  return split_white(kept);
}

// Runs of digits, as text.
std::vector<std::u32string> numbers_of(std::string_view text) {
  std::vector<std::u32string> numbers(1);
  for (const char32_t c : to_code_points(text)) {
    if ((c >= '0' && c <= '9') || (c >= 0xFF10 && c <= 0xFF19)) {
      numbers.back() += c;
    } else if (!numbers.back().empty()) {
      numbers.emplace_back();
    }
  }
  if (numbers.back().empty()) {
    numbers.pop_back();
  }
  return numbers;
}

double share_of_numbers(std::string_view text, const std::u32string& wanted) {
  const auto numbers = numbers_of(text);
  return numbers.empty() ? 0
                         : static_cast<double>(std::count(numbers.begin(), numbers.end(), wanted)) /
                               static_cast<double>(numbers.size());
}

// Parts between full stops, with single spaces; parts without a character are left out.
std::vector<Words> sentences_of(std::string_view text) {
  std::vector<Words> sentences;
  std::u32string part;
  const auto add = [&] {
    if (!part.empty()) {
      sentences.push_back(split_white(part));
      if (sentences.back().empty()) {
        sentences.back().emplace_back();  // white space alone is one empty word
      }
    }
    part.clear();
  };
  for (const char32_t c : to_code_points(text)) {
    if (c == '.') {
      add();
    } else {
      part += c;
    }
  }
  add();
  return sentences;
}

// Words of `a` on the longest common subsequence that the published walk back from the ends finds.
std::set<std::u32string> common_words(const Words& a, const Words& b) {
  std::vector<std::vector<int>> best(a.size() + 1, std::vector<int>(b.size() + 1));
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      best[i][j] =
          a[i - 1] == b[j - 1] ? best[i - 1][j - 1] + 1 : std::max(best[i - 1][j], best[i][j - 1]);
    }
  }
  std::set<std::u32string> words;
  for (size_t i = a.size(), j = b.size(); i > 0 && j > 0;) {
    if (a[i - 1] == b[j - 1]) {
      words.insert(a[i - 1]);
      --i;
      --j;
    } else if (best[i - 1][j] > best[i][j - 1]) {
      --i;
    } else {
      --j;
    }
  }
  return words;
}

double unique_words(const std::vector<Words>& sentences) {
  std::set<std::u32string> words;
  for (const Words& sentence : sentences) {
    words.insert(sentence.begin(), sentence.end());
  }
  return static_cast<double>(words.size());
}

}  // namespace

double words_f1(const Words& said, const Words& wanted) {
  std::map<std::u32string, int> left;
  for (const std::u32string& word : wanted) {
    ++left[word];
  }
  int same = 0;
  for (const std::u32string& word : said) {
    same += left[word]-- > 0 ? 1 : 0;
  }
  if (same == 0) {
    return 0;
  }
  const double precision = same / static_cast<double>(said.size());
  const double recall = same / static_cast<double>(wanted.size());
  return 2 * precision * recall / (precision + recall);
}

double qa_f1(std::string_view text, std::string_view reference) {
  return words_f1(normalized_words(text), normalized_words(reference));
}

double rouge_l(std::string_view text, std::string_view reference) {
  const std::vector<Words> said = sentences_of(text);
  const std::vector<Words> wanted = sentences_of(reference);
  if (said.empty() || wanted.empty()) {
    return 0;
  }
  std::set<std::u32string> common;
  for (const Words& one : wanted) {
    for (const Words& other : said) {
      common.merge(common_words(one, other));
    }
  }
  const auto size = static_cast<double>(common.size());
  const double precision = size / unique_words(said);
  const double recall = size / unique_words(wanted);
  return 2 * (precision * recall / (precision + recall + 1e-8));
}

double classification(std::string_view text, std::string_view reference,
                      const std::vector<std::string>& classes) {
  std::vector<std::string> named;
  std::copy_if(classes.begin(), classes.end(), std::back_inserter(named),
               [&](const std::string& name) { return text.find(name) != std::string_view::npos; });
  for (size_t i = 0; i < named.size(); ++i) {
    const std::string name = named[i];
    if (name != reference && reference.find(name) != std::string_view::npos) {
      named.erase(std::find(named.begin(), named.end(), name));  // the next one is passed over
    }
  }
  return std::find(named.begin(), named.end(), reference) == named.end()
             ? 0
             : 1 / static_cast<double>(named.size());
}

double retrieval(std::string_view text, std::string_view reference, std::string_view word) {
  for (size_t at = reference.find(word); at != std::string_view::npos;
       at = reference.find(word, at + 1)) {
    const std::string_view after = reference.substr(at + word.size());
    const size_t digits = std::min(after.find_first_not_of("0123456789"), after.size());
    if (digits > 0) {
      return share_of_numbers(text, to_code_points(after.substr(0, digits)));
    }
  }
  fail(ErrorCode::kInvalidArgument, "the answer '", std::string(reference), "' names no ",
       std::string(word));
}

double count_match(std::string_view text, std::string_view reference) {
  return share_of_numbers(text, to_code_points(reference));
}

double code_similarity(std::string_view text, std::string_view reference) {
  text.remove_prefix(std::min(text.find_first_not_of('\n'), text.size()));
  std::string_view line;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    line = text.substr(0, end);
    if (line.find_first_of("`#") == std::string_view::npos &&
        line.find("//") == std::string_view::npos) {
      break;
    }
    line = {};
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  if (line == reference) {
    return 1;
  }
  if (line.empty() || reference.empty()) {
    return 0;
  }
  // Halves go to the even percent.
  return std::nearbyint(100 * match_ratio(to_code_points(line), to_code_points(reference))) / 100;
}

}  // namespace lychee::eval
