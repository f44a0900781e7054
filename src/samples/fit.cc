#include "samples/fit.h"

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace lychee::samples {

int64_t largest_that_fits(const std::function<int64_t(int64_t count)>& tokens, int64_t length,
                          std::string_view what) {
  int64_t fits = 0;
  int64_t fits_tokens = tokens(0);
  require(fits_tokens <= length, ErrorCode::kInvalidArgument, what, ": ", length,
          " tokens cannot hold the question; the least is ", fits_tokens);
  int64_t too_many = std::numeric_limits<int64_t>::max();  // none known
  double per_count = 1;
  while (too_many - fits > 1) {
    // The guess goes one step beyond what the slope so far says, so that it closes in from above.
    const auto ahead =
        static_cast<int64_t>(static_cast<double>(length - fits_tokens) / per_count) + 1;
    const int64_t guess =
        fits + std::clamp<int64_t>(ahead, 1, std::min(too_many - fits - 1, 8 * fits + 64));
    const int64_t guess_tokens = tokens(guess);
    if (guess_tokens <= length) {
      per_count = std::max(
          static_cast<double>(guess_tokens - fits_tokens) / static_cast<double>(guess - fits),
          0.01);
      fits = guess;
      fits_tokens = guess_tokens;
    } else {
      per_count =
          static_cast<double>(guess_tokens - fits_tokens) / static_cast<double>(guess - fits);
      too_many = guess;
    }
  }
  return fits;
}

}  // namespace lychee::samples
