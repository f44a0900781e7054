#pragma once

#include <stdexcept>
#include <string>

namespace lychee {

enum class ErrorCode {
  kInvalidArgument,  // the caller's input is wrong: a flag, a shape, a malformed file
  kUnsupported,      // well-formed, but a combination this build or version lacks
  kOutOfMemory,
  kIo,        // disk, network, checksum
  kCuda,      // a CUDA call failed
  kInternal,  // our own bug
};

// The only exception that leaves the library. The server maps `code` to an HTTP status, the command
// line to an exit code, the C ABI to a status.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  [[nodiscard]] ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace lychee
