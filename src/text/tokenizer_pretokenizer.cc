#include "text/tokenizer_pretokenizer.h"

#include <algorithm>
#include <string>

#include "base/check.h"
#include "text/tokenizer_utf8.h"

namespace lychee::text {
namespace {

using Kind = io::PreTokenizerStep::Kind;
using Behavior = io::PreTokenizerStep::Behavior;
using Prepend = io::PreTokenizerStep::Prepend;

constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

struct Part {
  size_t begin = 0;
  size_t end = 0;
  bool is_match = false;
};

// Matches and what lies between them, covering the piece. Empty matches cut nothing.
std::vector<Part> find_parts(const Regex& regex, std::string_view piece, bool invert,
                             Regex::Scratch& scratch) {
  std::vector<Part> parts;
  size_t done = 0;
  size_t pos = 0;
  Regex::Match match;
  while (pos < piece.size() && regex.find(piece, pos, scratch, match)) {
    if (match.end <= match.begin) {
      pos =
          match.begin < piece.size() ? match.begin + char_length(piece[match.begin]) : piece.size();
      continue;
    }
    if (match.begin > done) {
      parts.push_back({done, match.begin, invert});
    }
    parts.push_back({match.begin, match.end, !invert});
    done = pos = match.end;
  }
  if (done < piece.size()) {
    parts.push_back({done, piece.size(), invert});
  }
  return parts;
}

// Neighbours that `behavior` joins become one part.
std::vector<Part> join_parts(const std::vector<Part>& parts, Behavior behavior) {
  std::vector<Part> joined;
  for (size_t i = 0; i < parts.size(); ++i) {
    const bool is_match = parts[i].is_match;
    const bool previous_match = i > 0 && parts[i - 1].is_match;
    // The last match of a run takes what follows it.
    const bool join = !joined.empty() &&
                      ((behavior == Behavior::kContiguous && is_match == previous_match) ||
                       (behavior == Behavior::kMergedWithPrevious && is_match && !previous_match) ||
                       (behavior == Behavior::kMergedWithNext && !is_match && previous_match));
    if (join) {
      joined.back().end = parts[i].end;
    } else if (behavior != Behavior::kRemoved || !is_match) {
      joined.push_back(parts[i]);
    }
  }
  return joined;
}

std::string_view pattern_of(const io::PreTokenizerStep& step) {
  switch (step.kind) {
    case Kind::kSplit:
      return step.pattern;
    case Kind::kDigits:
      return step.individual_digits ? R"(\p{N})" : R"(\p{N}+)";
    case Kind::kByteLevel:
      return step.use_regex ? kGpt2Pattern : "";
    default:
      return "";
  }
}

std::string replace_spaces(std::string_view text, std::string_view replacement) {
  std::string out;
  out.reserve(text.size() + text.size() / 2);
  for (const char c : text) {
    if (c == ' ') {
      out += replacement;
    } else {
      out += c;
    }
  }
  return out;
}

constexpr bool is_ascii_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

}  // namespace

struct PreTokenizer::Call {
  bool at_start;
  Scratch& scratch;
  PieceSink& sink;
};

PreTokenizer::PreTokenizer(const std::vector<io::PreTokenizerStep>& steps) {
  for (const io::PreTokenizerStep& spec : steps) {
    Step& step = steps_.emplace_back();
    step.spec = spec;
    const std::string_view pattern = pattern_of(spec);
    if (!pattern.empty()) {
      step.regex.emplace_back(pattern);
    }
    require(spec.kind != Kind::kMetaspace || spec.prepend != Prepend::kFirst || steps_.size() == 1,
            ErrorCode::kUnsupported,
            "a Metaspace pre-tokenizer with prepend_scheme \"first\" must come first");
    require(spec.kind != Kind::kSplit || !pattern.empty(), ErrorCode::kInvalidArgument,
            "a Split pre-tokenizer has an empty pattern");
  }
}

void PreTokenizer::run(std::string_view text, bool at_start, Scratch& scratch,
                       PieceSink& sink) const {
  run_step(0, text, {at_start, scratch, sink});
}

void PreTokenizer::run_step(size_t index, std::string_view piece, const Call& call) const {
  if (piece.empty()) {
    return;
  }
  if (index == steps_.size()) {
    call.sink.take(piece);
    return;
  }
  const Step& step = steps_[index];
  switch (step.spec.kind) {
    case Kind::kMetaspace:
      split_metaspace(step, index, piece, call);
      return;
    case Kind::kWhitespaceWords:
      split_words(index, piece, call);
      return;
    default:
      break;
  }
  std::string prefixed;
  if (step.spec.kind == Kind::kByteLevel && step.spec.add_prefix_space && piece[0] != ' ') {
    prefixed.assign(1, ' ').append(piece);
    piece = prefixed;
  }
  if (step.regex.empty()) {
    run_step(index + 1, piece, call);
  } else if (step.spec.kind == Kind::kSplit && step.spec.behavior != Behavior::kIsolated) {
    split(step, index, piece, call);
  } else {
    split_isolated(step, index, piece, call);
  }
}

void PreTokenizer::split(const Step& step, size_t index, std::string_view piece,
                         const Call& call) const {
  const std::vector<Part> parts = find_parts(step.regex[0], piece, step.spec.invert, call.scratch);
  for (const Part& part : join_parts(parts, step.spec.behavior)) {
    run_step(index + 1, piece.substr(part.begin, part.end - part.begin), call);
  }
}

void PreTokenizer::split_isolated(const Step& step, size_t index, std::string_view piece,
                                  const Call& call) const {
  size_t done = 0;
  size_t pos = 0;
  Regex::Match match;
  while (pos < piece.size() && step.regex[0].find(piece, pos, call.scratch, match)) {
    if (match.end <= match.begin) {
      pos =
          match.begin < piece.size() ? match.begin + char_length(piece[match.begin]) : piece.size();
      continue;
    }
    run_step(index + 1, piece.substr(done, match.begin - done), call);
    run_step(index + 1, piece.substr(match.begin, match.end - match.begin), call);
    done = pos = match.end;
  }
  run_step(index + 1, piece.substr(done), call);
}

void PreTokenizer::split_metaspace(const Step& step, size_t index, std::string_view piece,
                                   const Call& call) const {
  const std::string& mark = step.spec.replacement;
  std::string text = replace_spaces(piece, mark);
  const bool prepend = step.spec.prepend == Prepend::kAlways ||
                       (step.spec.prepend == Prepend::kFirst && call.at_start);
  if (prepend && !text.starts_with(mark)) {
    text.insert(0, mark);
  }
  const std::string_view view = text;
  size_t done = 0;
  if (step.spec.split) {
    for (size_t at = view.find(mark, 1); at != std::string_view::npos;
         at = view.find(mark, at + mark.size())) {
      run_step(index + 1, view.substr(done, at - done), call);
      done = at;
    }
  }
  run_step(index + 1, view.substr(done), call);
}

void PreTokenizer::split_words(size_t index, std::string_view piece, const Call& call) const {
  const char* const end = piece.data() + piece.size();
  const char* at = piece.data();
  while ((at = std::find_if_not(at, end, is_ascii_space)) != end) {
    const char* const word = at;
    at = std::find_if(at, end, is_ascii_space);
    run_step(index + 1, {word, static_cast<size_t>(at - word)}, call);
  }
}

}  // namespace lychee::text
