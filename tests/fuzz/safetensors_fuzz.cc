#include <cstddef>
#include <cstdint>
#include <span>

#include "io/huggingface/safetensors.h"
#include "lychee/error.h"

// Every byte of every accepted tensor is read: views must lie inside the file.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    unsigned sum = 0;
    for (const auto& [name, view] :
         lychee::io::parse_safetensors(std::as_bytes(std::span(data, size)), "fuzz")) {
      for (int64_t i = 0; i < view.bytes(); ++i) {
        sum += static_cast<unsigned>(view.data[i]);
      }
    }
    static volatile unsigned sink;
    sink = sum;
    static_cast<void>(sink);
  } catch (const lychee::Error&) {
    return 0;
  }
  return 0;
}
