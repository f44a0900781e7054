#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace lychee::text {

// Token texts by id and ids by text. Immutable.
class Vocabulary {
 public:
  // "" is a hole. Throws Error(kInvalidArgument) for tokens that are not UTF-8.
  explicit Vocabulary(std::vector<std::string> tokens);
  Vocabulary(const Vocabulary&) = delete;  // ids_ points into tokens_
  Vocabulary& operator=(const Vocabulary&) = delete;

  [[nodiscard]] int32_t size() const { return static_cast<int32_t>(tokens_.size()); }
  // The id of a token's exact text, or -1; the lowest when several share it.
  [[nodiscard]] int32_t find(std::string_view token) const;
  // `id` must be in range.
  [[nodiscard]] const std::string& token(int32_t id) const {
    return tokens_[static_cast<size_t>(id)];
  }
  // Throws Error(kInvalidArgument) naming `what` for an id that is no token.
  void check_id(int32_t id, std::string_view what) const;

 private:
  std::vector<std::string> tokens_;
  std::unordered_map<std::string_view, int32_t> ids_;
};

}  // namespace lychee::text
