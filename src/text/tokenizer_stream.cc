#include "text/tokenizer.h"
#include "text/tokenizer_utf8.h"

namespace lychee::text {

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special)
    : tokenizer_(tokenizer),
      skip_special_(skip_special),
      first_(tokenizer.strips_leading_space()) {}

std::string StreamDecoder::push(int32_t id) {
  const std::string bytes = tokenizer_.token_bytes(id, skip_special_);
  if (bytes.empty()) {
    return "";
  }
  const bool strip = first_ && bytes[0] == ' ';
  first_ = false;
  pending_.append(bytes, strip ? 1 : 0);
  std::string text;
  const size_t used = append_valid_utf8(pending_, true, text);
  pending_.erase(0, used);
  return text;
}

std::string StreamDecoder::finish() {
  std::string text;
  append_valid_utf8(pending_, false, text);
  pending_.clear();
  return text;
}

}  // namespace lychee::text
