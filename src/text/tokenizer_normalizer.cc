#include "text/tokenizer_normalizer.h"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>

#include "base/check.h"
#include "text/tokenizer_utf8.h"

namespace lychee::text {
namespace {

using Kind = io::NormalizerStep::Kind;

// Code points that NFC leaves alone next to one another: they neither decompose, nor compose with a
// neighbour of this set, nor are combining marks.
bool is_inert(char32_t c) {
  return c < 0x300 || (c >= 0x400 && c < 0x483) || (c >= 0x2010 && c < 0x2028) ||
         (c >= 0x3000 && c < 0x302a) || (c >= 0x3041 && c < 0x3099) ||
         (c >= 0x309b && c < 0x3100) || (c >= 0x4e00 && c < 0xa000) ||
         (c >= 0xac00 && c < 0xd7a4) || (c >= 0xff00 && c < 0xfff0) ||
         (c >= 0x1f300 && c < 0x1fb00);
}

// The first character from `pos` on that NFC may change or compose, or the text's end.
size_t find_reactive(std::string_view text, size_t pos) {
  while ((pos = skip_ascii(text, pos)) < text.size() &&
         is_inert(first_code_point(text.substr(pos)))) {
    pos += char_length(text[pos]);
  }
  return pos;
}

int options_of(Kind kind) {
  switch (kind) {
    case Kind::kNfc:
      return UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    case Kind::kNfd:
      return UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
    case Kind::kNfkc:
      return UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT;
    case Kind::kNfkd:
      return UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT;
    default:
      fail(ErrorCode::kInternal, "no Unicode normalisation form");
  }
}

std::string to_normal_form(std::string_view text, Kind kind) {
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                             static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                                             static_cast<utf8proc_option_t>(options_of(kind)));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  require(size >= 0, ErrorCode::kInvalidArgument,
          "Unicode normalisation failed: ", utf8proc_errmsg(size));
  return {reinterpret_cast<const char*>(mapped), static_cast<size_t>(size)};
}

// NFC of no more than runs of reactive characters, each with the inert one before it: nothing
// composes across the beginning of an inert character.
std::string compose(std::string_view text, size_t reactive) {
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  size_t done = 0;
  while (reactive < text.size()) {
    size_t begin = reactive;
    while (begin > done && is_continuation(text[--begin])) {
    }
    size_t end = reactive;
    while (end < text.size() && !is_inert(first_code_point(text.substr(end)))) {
      end += char_length(text[end]);
    }
    out.append(text, done, begin - done);
    out += to_normal_form(text.substr(begin, end - begin), Kind::kNfc);
    done = end;
    reactive = find_reactive(text, end);
  }
  out.append(text, done);
  return out;
}

// False when `text` is in normal form already.
bool normalize(std::string_view text, Kind kind, std::string& out) {
  if (kind != Kind::kNfc) {
    if (is_ascii(text)) {
      return false;
    }
    out = to_normal_form(text, kind);
    return true;
  }
  const size_t reactive = find_reactive(text, 0);
  if (reactive == text.size()) {
    return false;
  }
  out = compose(text, reactive);
  return true;
}

std::string replace_all(std::string_view text, const io::NormalizerStep& step) {
  std::string out;
  out.reserve(text.size() + text.size() / 2);
  size_t pos = 0;
  for (size_t at = 0; (at = text.find(step.pattern, pos)) != std::string_view::npos;) {
    out.append(text, pos, at - pos);
    out += step.replacement;
    pos = at + step.pattern.size();
  }
  out.append(text, pos);
  return out;
}

}  // namespace

std::string_view Normalizer::apply(std::string_view text, std::string& storage) const {
  std::string_view current = text;
  for (const io::NormalizerStep& step : steps_) {
    std::string next;
    if (step.kind == Kind::kPrepend) {
      if (current.empty()) {
        continue;
      }
      next = step.replacement;
      next += current;
    } else if (step.kind == Kind::kReplace) {
      if (current.find(step.pattern) == std::string_view::npos) {
        continue;
      }
      next = replace_all(current, step);
    } else if (!normalize(current, step.kind, next)) {
      continue;
    }
    storage = std::move(next);
    current = storage;
  }
  return current;
}

}  // namespace lychee::text
