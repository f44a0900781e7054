#include "base/check.h"
#include "engine/engine_impl.h"
#include "kernels/noise/fill_kv.h"

namespace lychee {

void Engine::fill_cache_with_noise(Sequence& sequence, int64_t length, uint64_t seed) {
  const int64_t begin = sequence.length();
  require(length >= begin, ErrorCode::kInvalidArgument, "cannot fill a sequence of ", begin,
          " tokens up to ", length, "; truncate it first");
  if (length == begin) {
    return;
  }
  Sequence::Impl& target = *sequence.impl_;
  impl_->make_room(target, begin, length);
  target.uncorrected.clear();
  target.forget_logits();
  impl_->decoder->fill_noise(begin, length, seed, target.table.pages());
  const auto vocab_size = static_cast<uint64_t>(impl_->info.vocab_size);
  for (int64_t i = begin; i < length; ++i) {
    // Another stream than that of K and V.
    const uint64_t word = noise::random_word(~seed, static_cast<uint64_t>(i));
    target.token_ids.push_back(static_cast<int32_t>(word % vocab_size));
  }
}

}  // namespace lychee
