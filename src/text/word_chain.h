#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace lychee::text {

// A hidden Markov model of where characters stand in words that no dictionary knows.
class WordChain {
 public:
  // Where a character stands. In the order of their letters (B, E, M, S), which settles ties.
  enum Place { kBegin, kEnd, kMiddle, kSingle };
  static constexpr size_t kPlaces = 4;
  // The characters the model is asked about: [kFirst, kLast].
  static constexpr char32_t kFirst = 0x4E00;
  static constexpr char32_t kLast = 0x9FD5;

  struct Source {
    std::string name;  // for errors
    std::string_view text;
  };
  // Logarithms of probabilities, each table written as a Python dictionary whose keys are the
  // places' letters: numbers; dictionaries from place to number; from character to number. Throws
  // Error(kInvalidArgument) that names the source for what is none.
  WordChain(const Source& start, const Source& transitions, const Source& emissions);

  // Ends of the likeliest words of `run`, ascending; the last is run.size(). Every character of
  // `run`, which is not empty, lies in [kFirst, kLast].
  [[nodiscard]] std::vector<size_t> word_ends(std::u32string_view run) const;

 private:
  [[nodiscard]] std::vector<Place> likeliest_places(std::u32string_view run) const;

  std::array<double, kPlaces> start_;
  std::array<std::array<double, kPlaces>, kPlaces> transitions_;  // [from][to]
  std::array<std::vector<double>, kPlaces> emissions_;            // [place][character - kFirst]
};

}  // namespace lychee::text
