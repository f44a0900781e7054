#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace lychee::samples {

// The largest `count` for which `tokens(count) <= length`, where `tokens` grows about linearly.
// `tokens` is asked few times: each call encodes a whole prompt. Throws Error(kInvalidArgument),
// with `what` and the least length, when not even `tokens(0)` fits.
[[nodiscard]] int64_t largest_that_fits(const std::function<int64_t(int64_t count)>& tokens,
                                        int64_t length, std::string_view what);

}  // namespace lychee::samples
