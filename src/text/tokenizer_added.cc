#include "text/tokenizer_added.h"

#include <algorithm>

#include "text/tokenizer_utf8.h"

namespace lychee::text {
namespace {

// Where the character before `pos` begins; `pos` > 0.
size_t previous_char(std::string_view text, size_t pos) {
  --pos;
  while (pos > 0 && is_continuation(text[pos])) {
    --pos;
  }
  return pos;
}

bool is_single_word(std::string_view text, size_t begin, size_t end) {
  const bool word_before =
      begin > 0 && is_word_char(first_code_point(text.substr(previous_char(text, begin))));
  const bool word_after = end < text.size() && is_word_char(first_code_point(text.substr(end)));
  return !word_before && !word_after;
}

size_t strip_left(std::string_view text, size_t begin, size_t limit) {
  while (begin > limit) {
    const size_t previous = previous_char(text, begin);
    if (previous < limit || !is_white_space(first_code_point(text.substr(previous)))) {
      break;
    }
    begin = previous;
  }
  return begin;
}

size_t strip_right(std::string_view text, size_t end) {
  while (end < text.size() && is_white_space(first_code_point(text.substr(end)))) {
    end += char_length(text[end]);
  }
  return end;
}

}  // namespace

void AddedTokenMatcher::add(std::string_view content, const io::AddedToken& token) {
  if (content.empty()) {
    return;
  }
  int32_t node = 0;
  for (const char c : content) {
    const auto [child, inserted] = nodes_[static_cast<size_t>(node)].children.try_emplace(
        c, static_cast<int32_t>(nodes_.size()));
    node = child->second;
    if (inserted) {
      nodes_.emplace_back();
    }
  }
  nodes_[static_cast<size_t>(node)].token = static_cast<int32_t>(tokens_.size());
  tokens_.push_back(token);
  starts_[static_cast<unsigned char>(content[0])] = true;
}

AddedTokenMatcher::Found AddedTokenMatcher::longest_at(std::string_view text, size_t begin) const {
  Found found;
  const Node* node = nodes_.data();
  for (size_t pos = begin; pos < text.size(); ++pos) {
    const auto child = node->children.find(text[pos]);
    if (child == node->children.end()) {
      break;
    }
    node = &nodes_[static_cast<size_t>(child->second)];
    if (node->token >= 0) {
      found = {begin, pos + 1, node->token};
    }
  }
  return found;
}

void AddedTokenMatcher::split(std::string_view text, std::vector<Segment>& out) const {
  size_t done = 0;
  size_t pos = tokens_.empty() ? text.size() : 0;
  while (pos < text.size()) {
    if (!starts_[static_cast<unsigned char>(text[pos])]) {
      ++pos;
      continue;
    }
    const Found found = longest_at(text, pos);
    if (found.token < 0) {
      ++pos;
      continue;
    }
    pos = found.end;
    const io::AddedToken& token = tokens_[static_cast<size_t>(found.token)];
    if (token.single_word && !is_single_word(text, found.begin, found.end)) {
      continue;
    }
    // White space that the token before claimed stays its own.
    const size_t begin =
        std::max(done, token.lstrip ? strip_left(text, found.begin, done) : found.begin);
    const size_t end = token.rstrip ? strip_right(text, found.end) : found.end;
    if (begin > done) {
      out.push_back({text.substr(done, begin - done)});
    }
    out.push_back({text.substr(begin, end - begin), token.id});
    done = end;
    pos = end;
  }
  if (done < text.size()) {
    out.push_back({text.substr(done)});
  }
}

}  // namespace lychee::text
