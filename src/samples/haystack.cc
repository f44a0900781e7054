#include "samples/haystack.h"

#include <array>
#include <cmath>
#include <map>
#include <string_view>

namespace lychee::samples {
namespace {

constexpr std::array<std::string_view, 5> kFiller{"The grass is green.", "The sky is blue.",
                                                  "The sun is yellow.", "Here we go.",
                                                  "There and back again."};

}  // namespace

// The unit before which a statement of this depth stands: the beginning of the sentence nearest to
// it, or the end of the text.
int64_t Haystack::place(double depth, int64_t count) const {
  const auto wanted = std::llround(depth * static_cast<double>(count));
  if (book_ == nullptr) {
    return wanted;
  }
  const auto begins = [&](int64_t at) {
    return at == 0 || at == count || book_->ends_sentence(start_ + at - 1);
  };
  for (int64_t distance = 0;; ++distance) {
    if (wanted - distance >= 0 && begins(wanted - distance)) {
      return wanted - distance;
    }
    if (wanted + distance <= count && begins(wanted + distance)) {
      return wanted + distance;
    }
  }
}

std::string Haystack::build(int64_t count, const std::vector<Insertion>& insertions) const {
  std::multimap<int64_t, const Insertion*> places;
  for (const Insertion& insertion : insertions) {
    places.emplace(place(insertion.depth, count), &insertion);
  }
  std::string text;
  const auto add = [&](std::string_view part) {
    text.append(text.empty() ? "" : " ").append(part);
  };
  auto next = places.begin();
  for (int64_t i = 0; i <= count; ++i) {
    for (; next != places.end() && next->first == i; ++next) {
      add(next->second->text);
    }
    if (i < count) {
      add(book_ == nullptr ? kFiller[static_cast<size_t>(i) % kFiller.size()]
                           : std::string_view(book_->word(start_ + i)));
    }
  }
  return text;
}

}  // namespace lychee::samples
