#include "base/check.h"
#include "text/tokenizer_pieces.h"

namespace lychee::text {
namespace {

// One id per word. Words are joined by single spaces when decoded.
class WordEncoder final : public PieceEncoder {
 public:
  WordEncoder(const io::TokenizerSpec& spec, const Vocabulary& vocabulary)
      : vocabulary_(vocabulary), unk_id_(spec.unk_id) {}

  void encode(std::string_view piece, PieceScratch& /*scratch*/,
              std::vector<int32_t>& out) const override {
    const int32_t id = vocabulary_.find(piece);
    require(id >= 0 || unk_id_ >= 0, ErrorCode::kInvalidArgument, "the word \"", piece,
            "\" is not in the tokenizer's vocabulary");
    out.push_back(id >= 0 ? id : unk_id_);
  }

  [[nodiscard]] std::string bytes_of(int32_t id) const override {
    return ' ' + vocabulary_.token(id);
  }

 private:
  const Vocabulary& vocabulary_;
  int32_t unk_id_;
};

}  // namespace

std::unique_ptr<PieceEncoder> make_word_encoder(const io::TokenizerSpec& spec,
                                                const Vocabulary& vocabulary) {
  return std::make_unique<WordEncoder>(spec, vocabulary);
}

}  // namespace lychee::text
