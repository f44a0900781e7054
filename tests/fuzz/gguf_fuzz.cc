#include <cstddef>
#include <cstdint>
#include <span>

#include "io/gguf/gguf.h"
#include "io/gguf/gguf_config.h"
#include "lychee/error.h"

// Header, tensor table, configuration and generation defaults; every byte of every accepted tensor
// is read.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  try {
    const lychee::io::GgufHeader header = lychee::io::parse_gguf_header(file, "fuzz");
    static_cast<void>(lychee::io::read_gguf_generation(header.metadata));
    const auto tensors = lychee::io::gguf_tensors(header, file);
    unsigned sum = 0;
    for (const auto& [name, view] : tensors) {
      for (int64_t i = 0; i < view.bytes(); ++i) {
        sum += static_cast<unsigned>(view.data[i]);
      }
    }
    static volatile unsigned sink;
    sink = sum;
    static_cast<void>(sink);
    static_cast<void>(lychee::io::read_gguf_config(header.metadata, tensors));
  } catch (const lychee::Error&) {
    return 0;
  }
  return 0;
}
