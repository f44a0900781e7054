#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "samples/random.h"
#include "samples/ruler.h"

namespace lychee::samples {

// A user's message and how its answer begins.
struct RulerText {
  std::string user;
  std::string answer_prefix;
};

// The prompt of the largest `count`, up to `max_count`, that fits `length` with the tokens that are
// generated. `build` draws nothing: a text of more units holds the same statements.
[[nodiscard]] RulerSample fit_ruler(const RulerInputs& inputs, std::string_view task,
                                    int64_t length, int64_t generated_tokens, int64_t max_count,
                                    const std::function<RulerText(int64_t count)>& build);

// "a, b and c".
[[nodiscard]] std::string join(const std::vector<std::string>& items);
// `count` different words.
[[nodiscard]] std::vector<std::string> draw_words(Random& random, size_t count);
// `count` letters from `first` ('A' or 'a') on.
[[nodiscard]] std::string draw_letters(Random& random, size_t count, char first);

}  // namespace lychee::samples
