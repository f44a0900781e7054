// The bytes up to the first NUL are a tokenizer.json, the rest is text to encode and decode.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "io/huggingface/tokenizer_json.h"
#include "lychee/error.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = input.find('\0');
  const std::string_view text = end == std::string_view::npos ? "" : input.substr(end + 1);
  try {
    const lychee::text::Tokenizer tokenizer(
        lychee::io::parse_tokenizer_json(input.substr(0, end), ""));
    (void)tokenizer.decode(tokenizer.encode(text, true), true);
  } catch (const lychee::Error&) {
    // Refused, as it may be.
  }
  return 0;
}
