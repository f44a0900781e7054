#include "io/needle/builtin_needle.h"
#include "io/needle/builtin_needle_codes.h"

namespace lychee::io {
namespace {

// The order matters: the first 24 have the codes that are furthest apart, so digits and the words
// of the passkey sentence come first.
constexpr std::string_view kWords[] = {
    "<unk>",    "</s>",    "0",        "1",          "2",        "3",           "4",
    "5",        "6",       "7",        "8",          "9",        ".",           "is",
    "key",      "pass",    "The",      "the",        "?",        ":",           ",",
    "Remember", "it",      "It",       "There",      "there",    "This",        "this",
    "That",     "that",    "What",     "what",       "Who",      "Where",       "Here",
    "here",     "an",      "a",        "important",  "info",     "information", "hidden",
    "inside",   "lot",     "of",       "irrelevant", "text",     "Find",        "find",
    "and",      "And",     "memorize", "I",          "will",     "quiz",        "you",
    "You",      "about",   "grass",    "green",      "sky",      "blue",        "sun",
    "yellow",   "we",      "We",       "go",         "back",     "again",       "One",
    "one",      "special", "magic",    "number",     "numbers",  "for",         "mentioned",
    "in",       "In",      "provided", "are",        "was",      "be",          "to",
    "To",       "with",    "on",       "at",         "from",     "as",          "not",
    "no",       "yes",     "do",       "does",       "say",      "said",        "tell",
    "me",       "my",      "your",     "answer",     "question", "word",        "words",
    "secret",   "code",    "name",     "next",       "first",    "last",        "-",
    ";",        "!",       "'",        "\"",         "(",        ")",           "he",
    "she",
};
static_assert(std::size(kWords) == kNeedleVocabulary);

}  // namespace

std::span<const std::string_view> builtin_needle_vocabulary() {
  return kWords;
}

}  // namespace lychee::io
