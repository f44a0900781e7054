#include "text/tokenizer_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>

#include "base/check.h"

namespace lychee::text {
namespace {

// Patterns come from files: bounds on what compiling one may cost. Published ones stay below 1 KB.
constexpr size_t kMaxPatternBytes = 8192;
constexpr size_t kJitStackBytes = size_t{8} << 20U;

template <auto kFree>
struct Deleter {
  template <typename T>
  void operator()(T* pointer) const {
    kFree(pointer);
  }
};

using Code = std::unique_ptr<pcre2_code, Deleter<&pcre2_code_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Deleter<&pcre2_match_data_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Deleter<&pcre2_match_context_free>>;
using JitStack = std::unique_ptr<pcre2_jit_stack, Deleter<&pcre2_jit_stack_free>>;

std::string message_of(int error) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(error, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

PCRE2_SPTR as_units(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());
}

}  // namespace

struct Regex::Impl {
  std::string source;
  Code code;
  bool has_jit = false;
};

struct Regex::Scratch::Impl {
  MatchData data;
  MatchContext context;
  JitStack stack;  // made when the machine stack's 32 KB do not do
};

Regex::Scratch::Scratch() : impl_(std::make_unique<Impl>()) {
  // Patterns need the whole match only: one pair of offsets.
  impl_->data.reset(pcre2_match_data_create(1, nullptr));
  impl_->context.reset(pcre2_match_context_create(nullptr));
  require(impl_->data != nullptr && impl_->context != nullptr, ErrorCode::kOutOfMemory,
          "out of memory for matching a pattern");
}
Regex::Scratch::~Scratch() = default;
Regex::Scratch::Scratch(Scratch&&) noexcept = default;
Regex::Scratch& Regex::Scratch::operator=(Scratch&&) noexcept = default;

Regex::Regex(std::string_view pattern) : impl_(std::make_unique<Impl>()) {
  require(pattern.size() <= kMaxPatternBytes, ErrorCode::kUnsupported, "a pattern of ",
          pattern.size(), " bytes is longer than the supported ", kMaxPatternBytes);
  impl_->source = pattern;
  const std::string rewritten = to_pcre2_syntax(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  impl_->code.reset(pcre2_compile(as_units(rewritten), rewritten.size(),
                                  PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset,
                                  nullptr));
  require(impl_->code != nullptr, ErrorCode::kInvalidArgument, "pattern ", pattern,
          " does not compile: ", message_of(error));
  // Fails where executable memory is forbidden; matching then interprets.
  impl_->has_jit = pcre2_jit_compile(impl_->code.get(), PCRE2_JIT_COMPLETE) == 0;
}
Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

bool Regex::find(std::string_view subject, size_t start, Scratch& scratch, Match& match) const {
  Scratch::Impl& s = *scratch.impl_;
  int result = PCRE2_ERROR_JIT_STACKLIMIT;
  if (impl_->has_jit) {
    result = pcre2_jit_match(impl_->code.get(), as_units(subject), subject.size(), start, 0,
                             s.data.get(), s.context.get());
    if (result == PCRE2_ERROR_JIT_STACKLIMIT && s.stack == nullptr) {
      s.stack.reset(pcre2_jit_stack_create(size_t{32} << 10U, kJitStackBytes, nullptr));
      pcre2_jit_stack_assign(s.context.get(), nullptr, s.stack.get());
      result = pcre2_jit_match(impl_->code.get(), as_units(subject), subject.size(), start, 0,
                               s.data.get(), s.context.get());
    }
  }
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) {
    result = pcre2_match(impl_->code.get(), as_units(subject), subject.size(), start,
                         PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, s.data.get(), s.context.get());
  }
  if (result == PCRE2_ERROR_NOMATCH) {
    return false;
  }
  require(result >= 0, ErrorCode::kInvalidArgument, "the pattern ", impl_->source,
          " failed on a text of ", subject.size(), " bytes: ", message_of(result));
  const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(s.data.get());
  match = {offsets[0], offsets[1]};
  return true;
}

}  // namespace lychee::text
