#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/model_files.h"

namespace lychee::text {

// Finds added tokens in a text: the longest at the leftmost position. Immutable.
class AddedTokenMatcher {
 public:
  // Replaces an added token of the same contents.
  void add(std::string_view content, const io::AddedToken& token);

  // A stretch of the text: an added token, with the white space its flags claim, or (-1) what lies
  // between.
  struct Segment {
    std::string_view text;
    int32_t id = -1;
  };

  // Appends the segments of `text` to `out`, which together cover it.
  void split(std::string_view text, std::vector<Segment>& out) const;

 private:
  struct Node {
    std::unordered_map<char, int32_t> children;
    int32_t token = -1;  // index into tokens_
  };
  struct Found {
    size_t begin = 0;
    size_t end = 0;
    int32_t token = -1;
  };

  [[nodiscard]] Found longest_at(std::string_view text, size_t begin) const;

  std::vector<io::AddedToken> tokens_;
  std::vector<Node> nodes_ = std::vector<Node>(1);
  bool starts_[256] = {};  // by first byte, so that most positions cost one look
};

}  // namespace lychee::text
