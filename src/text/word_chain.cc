#include "text/word_chain.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "text/python_table.h"

namespace lychee::text {
namespace {

// What stands for the logarithm of a probability of zero.
constexpr double kNever = -3.14e100;
constexpr std::u32string_view kLetters = U"BEMS";

// The places that may come before each.
constexpr std::array<std::array<WordChain::Place, 2>, WordChain::kPlaces> kBefore{{
    {WordChain::kEnd, WordChain::kSingle},    // before a beginning
    {WordChain::kBegin, WordChain::kMiddle},  // before an end
    {WordChain::kBegin, WordChain::kMiddle},  // before a middle
    {WordChain::kEnd, WordChain::kSingle},    // before a word of one character
}};

void read_table(const WordChain::Source& source, size_t depth,
                const std::function<void(size_t place, char32_t key, double value)>& use) {
  size_t count = 0;
  read_python_table(source.name, source.text, [&](std::u32string_view keys, double value) {
    const size_t place = kLetters.find(keys.front());
    require(keys.size() == depth && place != std::u32string_view::npos, ErrorCode::kInvalidArgument,
            source.name, ": number ", count, " does not belong to one of the places B, E, M and S");
    use(place, keys.back(), value);
    ++count;
  });
  require(count > 0, ErrorCode::kInvalidArgument, source.name, ": no numbers");
}

}  // namespace

WordChain::WordChain(const Source& start, const Source& transitions, const Source& emissions) {
  start_.fill(kNever);
  for (size_t place = 0; place < kPlaces; ++place) {
    transitions_[place].fill(kNever);
    emissions_[place].assign(kLast - kFirst + 1, kNever);
  }
  read_table(start, 1, [&](size_t place, char32_t, double value) { start_[place] = value; });
  read_table(transitions, 2, [&](size_t from, char32_t key, double value) {
    const size_t to = kLetters.find(key);
    require(to != std::u32string_view::npos, ErrorCode::kInvalidArgument, transitions.name,
            ": a transition leads to none of the places B, E, M and S");
    transitions_[from][to] = value;
  });
  read_table(emissions, 2, [&](size_t place, char32_t c, double value) {
    if (c >= kFirst && c <= kLast) {
      emissions_[place][c - kFirst] = value;
    }
  });
}

std::vector<WordChain::Place> WordChain::likeliest_places(std::u32string_view run) const {
  // Where the best way to each place of each character comes from.
  std::vector<std::array<Place, kPlaces>> from(run.size());
  std::array<double, kPlaces> best{};
  for (size_t place = 0; place < kPlaces; ++place) {
    best[place] = start_[place] + emissions_[place][run[0] - kFirst];
  }
  for (size_t i = 1; i < run.size(); ++i) {
    std::array<double, kPlaces> next{};
    for (size_t place = 0; place < kPlaces; ++place) {
      const double emission = emissions_[place][run[i] - kFirst];
      const auto [low, high] = kBefore[place];
      const double by_low = best[low] + transitions_[low][place] + emission;
      const double by_high = best[high] + transitions_[high][place] + emission;
      // Of equals, the later letter.
      from[i][place] = by_low > by_high ? low : high;
      next[place] = std::max(by_low, by_high);
    }
    best = next;
  }
  std::vector<Place> places(run.size());
  places.back() = best[kEnd] > best[kSingle] ? kEnd : kSingle;
  for (size_t i = run.size() - 1; i > 0; --i) {
    places[i - 1] = from[i][places[i]];
  }
  return places;
}

std::vector<size_t> WordChain::word_ends(std::u32string_view run) const {
  const std::vector<Place> places = likeliest_places(run);
  std::vector<size_t> ends;
  for (size_t i = 0; i < run.size(); ++i) {
    if (places[i] == kEnd || places[i] == kSingle) {
      ends.push_back(i + 1);
    }
  }
  return ends;
}

}  // namespace lychee::text
