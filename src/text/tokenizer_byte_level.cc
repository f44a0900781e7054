#include <array>

#include "base/check.h"
#include "text/tokenizer_bytes.h"
#include "text/tokenizer_pieces.h"

namespace lychee::text {
namespace {

class ByteLevelEncoder final : public PieceEncoder {
 public:
  ByteLevelEncoder(const io::TokenizerSpec& spec, const Vocabulary& vocabulary)
      : vocabulary_(vocabulary),
        merges_(make_merge_table(spec, vocabulary)),
        ignore_merges_(spec.ignore_merges),
        unk_id_(spec.unk_id) {
    for (size_t byte = 0; byte < byte_ids_.size(); ++byte) {
      std::string spelling;
      append_spelling(static_cast<uint8_t>(byte), spelling);
      const int32_t id = vocabulary.find(spelling);
      byte_ids_[byte] = id >= 0 ? id : unk_id_;
    }
  }

  void encode(std::string_view piece, PieceScratch& scratch,
              std::vector<int32_t>& out) const override {
    encode_cached(piece, scratch.cache, out, [&](std::string_view text, std::vector<int32_t>& ids) {
      encode_uncached(text, scratch, ids);
    });
  }

  [[nodiscard]] std::string bytes_of(int32_t id) const override {
    const std::string& token = vocabulary_.token(id);
    std::optional<std::string> bytes = unspell_bytes(token);
    return bytes ? *std::move(bytes) : token;
  }

 private:
  void encode_uncached(std::string_view piece, PieceScratch& scratch,
                       std::vector<int32_t>& out) const {
    if (ignore_merges_) {
      const int32_t whole = vocabulary_.find(spell_bytes(piece));
      if (whole >= 0) {
        out.push_back(whole);
        return;
      }
    }
    scratch.symbols.clear();
    for (const char byte : piece) {
      const int32_t id = byte_ids_[static_cast<unsigned char>(byte)];
      // A vocabulary may lack bytes that no text of its kind holds; they are left out.
      if (id >= 0) {
        scratch.symbols.push_back(id);
      }
    }
    scratch.merger.merge(merges_, scratch.symbols);
    out.insert(out.end(), scratch.symbols.begin(), scratch.symbols.end());
  }

  const Vocabulary& vocabulary_;
  MergeTable merges_;
  bool ignore_merges_;
  int32_t unk_id_;
  std::array<int32_t, 256> byte_ids_{};
};

}  // namespace

MergeTable make_merge_table(const io::TokenizerSpec& spec, const Vocabulary& vocabulary) {
  MergeTable table(spec.merges.size());
  std::string joined;
  for (size_t rank = 0; rank < spec.merges.size(); ++rank) {
    const auto& [left, right] = spec.merges[rank];
    joined.assign(left).append(right);
    const int32_t left_id = vocabulary.find(left);
    const int32_t right_id = vocabulary.find(right);
    const int32_t merged_id = vocabulary.find(joined);
    require(left_id >= 0 && right_id >= 0 && merged_id >= 0, ErrorCode::kInvalidArgument,
            "the tokenizer's merge ", rank, ", \"", left, "\" and \"", right,
            "\", uses or makes a token that is not in the vocabulary");
    table.insert(left_id, right_id, {static_cast<int32_t>(rank), merged_id});
  }
  return table;
}

std::unique_ptr<PieceEncoder> make_byte_level_encoder(const io::TokenizerSpec& spec,
                                                      const Vocabulary& vocabulary) {
  return std::make_unique<ByteLevelEncoder>(spec, vocabulary);
}

}  // namespace lychee::text
