#include "text/tokenizer_vocabulary.h"

#include "base/check.h"
#include "text/tokenizer_utf8.h"

namespace lychee::text {

Vocabulary::Vocabulary(std::vector<std::string> tokens) : tokens_(std::move(tokens)) {
  ids_.reserve(tokens_.size());
  std::string storage;
  for (size_t id = 0; id < tokens_.size(); ++id) {
    const std::string& token = tokens_[id];
    if (token.empty()) {
      continue;
    }
    require(valid_utf8(token, storage).data() == token.data(), ErrorCode::kInvalidArgument,
            "the tokenizer's token ", id, " is not valid UTF-8");
    ids_.try_emplace(token, static_cast<int32_t>(id));
  }
}

int32_t Vocabulary::find(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? -1 : found->second;
}

void Vocabulary::check_id(int32_t id, std::string_view what) const {
  require(id >= 0 && id < size(), ErrorCode::kInvalidArgument, what, " ", id,
          " is outside the tokenizer's vocabulary of ", size());
}

}  // namespace lychee::text
