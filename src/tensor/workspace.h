#pragma once

#include <cstdint>
#include <span>

#include "base/check.h"
#include "base/math.h"
#include "tensor/buffer.h"

namespace lychee {

// A stack of scratch memory. Whoever runs a step takes what its kernels ask for
// (`*_workspace_bytes`) and resets at the end; nothing is allocated on the way. Not thread-safe.
class Workspace {
 public:
  static constexpr int64_t kAlignment = 64;  // a cache line, and the widest vector

  Workspace() = default;
  explicit Workspace(int64_t bytes) : buffer_(bytes) {}

  // `count` uninitialised elements, valid until reset() or until a Scope around them ends.
  template <typename T>
  [[nodiscard]] T* take(int64_t count) {
    const int64_t bytes = round_up(count * static_cast<int64_t>(sizeof(T)), kAlignment);
    require(used_ + bytes <= buffer_.bytes(), ErrorCode::kInternal, "workspace of ",
            buffer_.bytes(), " bytes is too small for ", used_ + bytes);
    T* memory = reinterpret_cast<T*>(buffer_.data() + used_);
    used_ += bytes;
    return memory;
  }
  void reset() { used_ = 0; }
  [[nodiscard]] int64_t capacity() const { return buffer_.bytes(); }

  // Returns what was taken inside it when it ends.
  class Scope {
   public:
    explicit Scope(Workspace& workspace) : workspace_(workspace), used_(workspace.used_) {}
    ~Scope() { workspace_.used_ = used_; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Workspace& workspace_;
    int64_t used_;
  };

 private:
  Buffer buffer_;
  int64_t used_ = 0;
};

}  // namespace lychee
