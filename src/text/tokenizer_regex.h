#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace lychee::text {

// A pattern in Oniguruma's syntax, as tokenizer files hold it, rewritten so that PCRE2 finds the
// same matches: PCRE2's `\s` contains U+180E. Throws Error(kUnsupported) naming a construct that
// the two read differently.
[[nodiscard]] std::string to_pcre2_syntax(std::string_view pattern);

// A compiled regular expression. Immutable; shared between threads.
class Regex {
 public:
  // Throws Error(kUnsupported) for what to_pcre2_syntax refuses, Error(kInvalidArgument) for a
  // pattern that does not compile.
  explicit Regex(std::string_view pattern);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  // What one thread needs to match.
  class Scratch {
   public:
    Scratch();
    ~Scratch();
    Scratch(Scratch&&) noexcept;
    Scratch& operator=(Scratch&&) noexcept;

   private:
    friend class Regex;
    struct Impl;
    std::unique_ptr<Impl> impl_;
  };

  struct Match {
    size_t begin = 0;
    size_t end = 0;
  };

  // The first match at or after `start` of valid UTF-8, false when there is none. Throws
  // Error(kInvalidArgument) when the pattern backtracks beyond measure.
  [[nodiscard]] bool find(std::string_view subject, size_t start, Scratch& scratch,
                          Match& match) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lychee::text
