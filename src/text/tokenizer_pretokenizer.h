#pragma once

#include <string_view>
#include <vector>

#include "io/model_files.h"
#include "text/tokenizer_regex.h"

namespace lychee::text {

// Takes the pieces that a text is cut into, in order. A piece lives during the call only.
class PieceSink {
 public:
  virtual void take(std::string_view piece) = 0;

 protected:
  ~PieceSink() = default;
};

// Cuts normalised text into the pieces that BPE treats apart. Immutable.
class PreTokenizer {
 public:
  explicit PreTokenizer(const std::vector<io::PreTokenizerStep>& steps);

  // Per-thread state of the patterns.
  using Scratch = Regex::Scratch;

  // `at_start`: the segment begins the whole text.
  void run(std::string_view text, bool at_start, Scratch& scratch, PieceSink& sink) const;

 private:
  struct Step;
  struct Call;
  void run_step(size_t index, std::string_view piece, const Call& call) const;
  void split(const Step& step, size_t index, std::string_view piece, const Call& call) const;
  void split_isolated(const Step& step, size_t index, std::string_view piece,
                      const Call& call) const;
  void split_metaspace(const Step& step, size_t index, std::string_view piece,
                       const Call& call) const;
  void split_words(size_t index, std::string_view piece, const Call& call) const;

  struct Step {
    io::PreTokenizerStep spec;
    std::vector<Regex> regex;  // none or one
  };
  std::vector<Step> steps_;
};

}  // namespace lychee::text
