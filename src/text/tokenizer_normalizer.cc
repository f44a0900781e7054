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

bool is_normalized(std::string_view text, Kind kind) {
  if (is_ascii(text)) {
    return true;
  }
  if (kind != Kind::kNfc) {
    return false;
  }
  for (size_t pos = 0; pos < text.size(); pos += char_length(text[pos])) {
    if (!is_inert(first_code_point(text.substr(pos)))) {
      return false;
    }
  }
  return true;
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
    } else if (is_normalized(current, step.kind)) {
      continue;
    } else {
      next = to_normal_form(current, step.kind);
    }
    storage = std::move(next);
    current = storage;
  }
  return current;
}

}  // namespace lychee::text
