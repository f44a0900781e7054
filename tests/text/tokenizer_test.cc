#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lychee/error.h"
#include "text/tokenizer_bpe.h"
#include "text/tokenizer_bytes.h"

namespace lychee::text {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Ids = std::vector<int32_t>;

// Ids 0 to 255 are the bytes.
io::TokenizerSpec byte_spec() {
  io::TokenizerSpec spec;
  for (unsigned byte = 0; byte < 256; ++byte) {
    spec.tokens.push_back(spell_bytes(std::string(1, static_cast<char>(byte))));
  }
  spec.pre_tokenizer.emplace_back().kind = io::PreTokenizerStep::Kind::kByteLevel;
  return spec;
}

int32_t add_token(io::TokenizerSpec& spec, io::AddedToken token) {
  token.id = static_cast<int32_t>(spec.tokens.size());
  spec.tokens.push_back(token.content);
  spec.added_tokens.push_back(token);
  return token.id;
}

void add_merge(io::TokenizerSpec& spec, const std::string& left, const std::string& right) {
  spec.merges.emplace_back(left, right);
  spec.tokens.push_back(left + right);
}

io::AddedToken special(const std::string& content) {
  io::AddedToken token;
  token.content = content;
  token.special = true;
  return token;
}

io::TokenizerSpec word_spec() {
  io::TokenizerSpec spec;
  spec.kind = io::TokenizerKind::kWords;
  spec.tokens = {"<unk>", "the", "key", "is"};
  return spec;
}

io::TokenizerSpec sentencepiece_spec() {
  io::TokenizerSpec spec;
  spec.kind = io::TokenizerKind::kSentencePieceBpe;
  spec.tokens = {"<unk>", "a", "b", "ab", "bb", "\u2581", "\u2581a"};
  spec.scores = {0, -10, -11, -2, -1, -12, -3};
  spec.unk_id = 0;
  return spec;
}

template <typename Fn>
void expect_error(Fn&& fn, ErrorCode code, const std::string& message) {
  try {
    fn();
    FAIL() << "no error; expected " << message;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(message));
  }
}

TEST(Bpe, MergesLowestRankThenLeftmost) {
  MergeTable table(2);
  table.insert(0, 0, {1, 2});  // aa
  table.insert(0, 1, {0, 3});  // ab, sooner
  BpeMerger merger;
  Ids symbols{0, 0, 0, 1, 0, 0, 0};
  merger.merge(table, symbols);
  EXPECT_THAT(symbols, ElementsAre(2, 3, 2, 0));
}

// Random merges over a small alphabet: the heap against the quadratic loop, which pieces of up to
// 48 symbols take.
TEST(Bpe, LongPiecesMergeLikeShortOnes) {
  uint32_t seed = 1;
  const auto random = [&seed](uint32_t bound) {
    seed = seed * 1664525U + 1013904223U;
    return static_cast<int32_t>((seed >> 8U) % bound);
  };
  constexpr int32_t kSeparator = 1000;  // merges with nothing
  for (int round = 0; round < 200; ++round) {
    MergeTable table(60);
    for (int32_t rank = 0; rank < 60; ++rank) {
      table.insert(random(12), random(12), {rank, random(12)});
    }
    Ids together;
    Ids apart;
    for (int part = 0; part < 8; ++part) {
      Ids symbols;
      for (int i = 0; i < 40; ++i) {
        symbols.push_back(random(12));
      }
      symbols.push_back(kSeparator);
      together.insert(together.end(), symbols.begin(), symbols.end());
      BpeMerger().merge(table, symbols);
      apart.insert(apart.end(), symbols.begin(), symbols.end());
    }
    BpeMerger().merge(table, together);
    ASSERT_EQ(together, apart) << "round " << round;
  }
}

TEST(Bpe, ALaterMergeOfTheSamePairReplacesTheEarlier) {
  MergeTable table(2);
  table.insert(1, 2, {0, 7});
  table.insert(1, 2, {5, 8});
  EXPECT_EQ(table.find(1, 2).id, 8);
  EXPECT_LT(table.find(2, 1).rank, 0);
}

TEST(Bytes, SpellingsRoundTrip) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) {
    all += static_cast<char>(byte);
  }
  EXPECT_EQ(unspell_bytes(spell_bytes(all)), all);
  EXPECT_EQ(spell_bytes(" \n"), "\u0120\u010A");
  EXPECT_EQ(unspell_bytes("a b"), std::nullopt);  // a bare space spells nothing
  EXPECT_EQ(unspell_bytes("\uFFFD"), std::nullopt);
}

TEST(Tokenizer, InvalidUtf8BecomesReplacementCharacters) {
  const Tokenizer tokenizer(byte_spec());
  const std::string replaced =
      "a\xEF\xBF\xBD"
      "b";
  const Ids expected = tokenizer.encode(replaced, false);
  EXPECT_EQ(tokenizer.encode("a\xFF"
                             "b",
                             false),
            expected);
  EXPECT_EQ(tokenizer.encode("a\xE2\x82"
                             "b",
                             false),
            expected);  // a truncated character is one
  EXPECT_EQ(tokenizer.encode("a\xC0\x80"
                             "b",
                             false),
            tokenizer.encode("a\xEF\xBF\xBD\xEF\xBF\xBD"
                             "b",
                             false));  // an overlong form is two
  EXPECT_EQ(tokenizer.decode(Ids{'a', 0xE2, 0x82, 'b'}, false), replaced);
}

TEST(Tokenizer, IdsOutsideTheVocabularyAreRefused) {
  const Tokenizer tokenizer(byte_spec());
  for (const int32_t id : {-1, 256, INT32_MAX}) {
    expect_error([&] { (void)tokenizer.decode(Ids{id}, false); }, ErrorCode::kInvalidArgument,
                 std::to_string(id));
  }
  EXPECT_FALSE(tokenizer.is_special(-1));
  EXPECT_FALSE(tokenizer.is_special(256));
}

TEST(Tokenizer, LongestAddedTokenWins) {
  io::TokenizerSpec spec = byte_spec();
  const int32_t shorter = add_token(spec, special("<a>"));
  const int32_t longer = add_token(spec, special("<a><b>"));
  const Tokenizer tokenizer(spec);
  EXPECT_THAT(tokenizer.encode("<a><b><a><", false), ElementsAre(longer, shorter, '<'));
  EXPECT_EQ(tokenizer.decode(Ids{longer, 'x', shorter}, true), "x");
  EXPECT_EQ(tokenizer.decode(Ids{longer, 'x', shorter}, false), "<a><b>x<a>");
  EXPECT_EQ(tokenizer.token_id("<a>"), shorter);
  EXPECT_EQ(tokenizer.token_id("<c>"), -1);
}

TEST(Tokenizer, AddedTokensClaimWhiteSpace) {
  io::TokenizerSpec spec = byte_spec();
  io::AddedToken mask = special("<mask>");
  mask.lstrip = true;
  const int32_t left = add_token(spec, mask);
  io::AddedToken sep = special("<sep>");
  sep.rstrip = true;
  const int32_t right = add_token(spec, sep);
  const Tokenizer tokenizer(spec);
  EXPECT_THAT(tokenizer.encode("a \u3000\n<mask> b", false), ElementsAre('a', left, ' ', 'b'));
  EXPECT_THAT(tokenizer.encode("a <sep>\t b", false), ElementsAre('a', ' ', right, 'b'));
  EXPECT_THAT(tokenizer.encode("<sep> <mask>", false), ElementsAre(right, left));
}

TEST(Tokenizer, SingleWordTokensNeedBoundaries) {
  io::TokenizerSpec spec = byte_spec();
  io::AddedToken token = special("at");
  token.single_word = true;
  const int32_t id = add_token(spec, token);
  const Tokenizer tokenizer(spec);
  EXPECT_THAT(tokenizer.encode("at.at", false), ElementsAre(id, '.', id));
  EXPECT_THAT(tokenizer.encode("cat at", false), ElementsAre('c', 'a', 't', ' ', id));
  EXPECT_EQ(tokenizer.encode("at\u00e9", false).size(), 4U);
}

TEST(Tokenizer, NormalizedTokensAreFoundAfterNormalisation) {
  io::TokenizerSpec spec = byte_spec();
  spec.normalizer.emplace_back().kind = io::NormalizerStep::Kind::kNfc;
  io::AddedToken token = special("\u00e9");
  token.normalized = true;
  const int32_t id = add_token(spec, token);
  EXPECT_THAT(Tokenizer(spec).encode("xe\u0301x", false), ElementsAre('x', id, 'x'));
}

TEST(Tokenizer, NormalFormsReachTheirNeighbours) {
  const auto normalized = [](io::NormalizerStep::Kind kind, const std::string& text) {
    io::TokenizerSpec spec = byte_spec();
    spec.normalizer.emplace_back().kind = kind;
    const Tokenizer tokenizer(spec);
    return tokenizer.decode(tokenizer.encode(text, false), false);
  };
  using Kind = io::NormalizerStep::Kind;
  EXPECT_EQ(normalized(Kind::kNfc, "abce\u0301de\u0301"), "abc\u00e9d\u00e9");
  EXPECT_EQ(normalized(Kind::kNfc, "\u0301a"), "\u0301a");
  EXPECT_EQ(normalized(Kind::kNfc, "\u1100\u1161\u11a8\uac00\u11a8"), "\uac01\uac01");
  EXPECT_EQ(normalized(Kind::kNfc, "\u304b\u3099x"), "\u304cx");
  EXPECT_EQ(normalized(Kind::kNfc, "a\u0302\u0323z"), "\u1eadz");  // marks are put in order
  EXPECT_EQ(normalized(Kind::kNfc, "\u212b"), "\u00c5");
  EXPECT_EQ(normalized(Kind::kNfd, "x\u00e9"), "xe\u0301");
  EXPECT_EQ(normalized(Kind::kNfkc, "\ufb01\u2460"), "fi1");
  EXPECT_EQ(normalized(Kind::kNfkd, "\ufb01\u00e9"), "fie\u0301");
}

TEST(Tokenizer, LeadingTokensComeOnce) {
  io::TokenizerSpec spec = byte_spec();
  const int32_t bos = add_token(spec, special("<s>"));
  spec.prefix_ids = {bos};
  const Tokenizer tokenizer(spec);
  EXPECT_THAT(tokenizer.encode("a", true), ElementsAre(bos, 'a'));
  EXPECT_THAT(tokenizer.encode("", true), ElementsAre(bos));
  EXPECT_THAT(tokenizer.encode("<s>a", true), ElementsAre(bos, 'a'));
  EXPECT_THAT(tokenizer.encode("a", false), ElementsAre('a'));
}

TEST(Tokenizer, SplitBehaviours) {
  using Behavior = io::PreTokenizerStep::Behavior;
  // Neighbouring bytes merge within a piece, so that the ids show where pieces end.
  const auto encode = [](Behavior behavior, bool invert) {
    io::TokenizerSpec spec = byte_spec();
    for (const char* pair : {"a-", "-a", "--", "aa"}) {
      add_merge(spec, std::string(1, pair[0]), std::string(1, pair[1]));
    }
    io::PreTokenizerStep split;
    split.pattern = "-";
    split.behavior = behavior;
    split.invert = invert;
    spec.pre_tokenizer.insert(spec.pre_tokenizer.begin(), split);
    const Tokenizer tokenizer(spec);
    std::string pieces;
    for (const int32_t id : tokenizer.encode("a--a", false)) {
      pieces += tokenizer.token_bytes(id, false) + ' ';
    }
    return pieces;
  };
  EXPECT_EQ(encode(Behavior::kIsolated, false), "a - - a ");
  EXPECT_EQ(encode(Behavior::kRemoved, false), "a a ");
  EXPECT_EQ(encode(Behavior::kMergedWithPrevious, false), "a- - a ");
  EXPECT_EQ(encode(Behavior::kMergedWithNext, false), "a - -a ");
  EXPECT_EQ(encode(Behavior::kContiguous, false), "a -- a ");
  EXPECT_EQ(encode(Behavior::kRemoved, true), "- - ");
}

TEST(Tokenizer, ByteLevelMayPrependASpace) {
  io::TokenizerSpec spec = byte_spec();
  spec.pre_tokenizer[0].add_prefix_space = true;
  const Tokenizer tokenizer(spec);
  EXPECT_THAT(tokenizer.encode("a", false), ElementsAre(' ', 'a'));
  EXPECT_THAT(tokenizer.encode(" a", false), ElementsAre(' ', 'a'));
  EXPECT_THAT(tokenizer.encode("", false), IsEmpty());
}

TEST(Tokenizer, WordsAreSplitByWhiteSpaceAndJoinedBySpaces) {
  io::TokenizerSpec spec = word_spec();
  const Tokenizer strict(spec);
  EXPECT_THAT(strict.encode("  the\tkey\n is ", false), ElementsAre(1, 2, 3));
  EXPECT_EQ(strict.decode(Ids{1, 2, 3}, false), "the key is");
  expect_error([&] { (void)strict.encode("the door", false); }, ErrorCode::kInvalidArgument,
               "door");
  spec.unk_id = 0;
  EXPECT_THAT(Tokenizer(spec).encode("the door", false), ElementsAre(1, 0));
}

TEST(Tokenizer, ScoresDecideWhatMerges) {
  const Tokenizer tokenizer(sentencepiece_spec());
  EXPECT_THAT(tokenizer.encode("abb", false), ElementsAre(1, 4));            // bb scores higher
  EXPECT_THAT(tokenizer.encode("ab\u2581ab", false), ElementsAre(3, 5, 3));  // ab before _a
  EXPECT_THAT(tokenizer.encode("xya", false), ElementsAre(0, 0, 1));
}

TEST(Tokenizer, UnknownCharactersFuseOrBecomeBytes) {
  io::TokenizerSpec spec = sentencepiece_spec();
  spec.fuse_unk = true;
  EXPECT_THAT(Tokenizer(spec).encode("xyaz", false), ElementsAre(0, 1, 0));
  spec.unk_id = -1;
  EXPECT_THAT(Tokenizer(spec).encode("xya", false), ElementsAre(1));
  spec = sentencepiece_spec();
  spec.byte_fallback = true;
  for (const char* token : {"<0xC3>", "<0xA9>"}) {
    spec.tokens.emplace_back(token);
    spec.scores.push_back(0);
  }
  const Tokenizer tokenizer(spec);
  EXPECT_THAT(tokenizer.encode("\u00e9", false), ElementsAre(7, 8));
  EXPECT_THAT(tokenizer.encode("\u00e8", false), ElementsAre(0));  // <0xA8> is missing
  EXPECT_EQ(tokenizer.decode(Ids{7, 8, 6}, false), "\u00e9 a");
}

TEST(Tokenizer, ContradictionsAreRefused) {
  const auto refuse = [](const io::TokenizerSpec& spec, const std::string& message,
                         ErrorCode code = ErrorCode::kInvalidArgument) {
    expect_error([&] { Tokenizer tokenizer(spec); }, code, message);
  };
  io::TokenizerSpec spec = byte_spec();
  spec.added_tokens.push_back(special("<s>"));
  spec.added_tokens[0].id = 256;
  refuse(spec, "<s>");
  spec = byte_spec();
  spec.prefix_ids = {300};
  refuse(spec, "300");
  spec = byte_spec();
  spec.unk_id = 301;
  refuse(spec, "301");
  spec = byte_spec();
  spec.merges = {{"q", "zz"}};
  refuse(spec, "\"zz\"");
  spec = byte_spec();
  spec.tokens.emplace_back("\xFF");
  refuse(spec, "token 256");
  spec = byte_spec();
  spec.pre_tokenizer.emplace_back();
  refuse(spec, "empty pattern");
  spec.pre_tokenizer.back() = {};
  spec.pre_tokenizer.back().kind = io::PreTokenizerStep::Kind::kMetaspace;
  spec.pre_tokenizer.back().prepend = io::PreTokenizerStep::Prepend::kFirst;
  refuse(spec, "must come first", ErrorCode::kUnsupported);
  spec = sentencepiece_spec();
  spec.scores.pop_back();
  refuse(spec, "6 scores for 7");
  spec = sentencepiece_spec();
  spec.scores[3] = std::numeric_limits<float>::quiet_NaN();
  refuse(spec, "not a number");
  spec = sentencepiece_spec();
  spec.tokens[3] = std::string(2000, 'a');
  refuse(spec, "2000 bytes", ErrorCode::kUnsupported);
}

TEST(StreamDecoder, NeverSplitsACharacter) {
  const Tokenizer tokenizer(byte_spec());
  StreamDecoder decoder(tokenizer, false);
  EXPECT_EQ(decoder.push('a'), "a");
  EXPECT_EQ(decoder.push(0xF0), "");
  EXPECT_EQ(decoder.push(0x9F), "");
  EXPECT_EQ(decoder.push(0x98), "");
  EXPECT_EQ(decoder.push(0x80), "\U0001F600");
  EXPECT_EQ(decoder.push(0xE2), "");
  EXPECT_EQ(decoder.push('b'),
            "\uFFFD"
            "b");  // what cannot be completed is given up
  EXPECT_EQ(decoder.push(0xC3), "");
  EXPECT_EQ(decoder.finish(), "\uFFFD");
  EXPECT_EQ(decoder.finish(), "");
}

TEST(StreamDecoder, TakesOneLeadingSpaceAway) {
  io::TokenizerSpec spec = sentencepiece_spec();
  spec.add_prefix_space = true;
  const int32_t bos = add_token(spec, special("<s>"));
  spec.scores.push_back(0);
  const Tokenizer tokenizer(spec);
  StreamDecoder skipping(tokenizer, true);
  EXPECT_EQ(skipping.push(bos), "");
  EXPECT_EQ(skipping.push(6), "a");
  EXPECT_EQ(skipping.push(6), " a");
  StreamDecoder keeping(tokenizer, false);
  EXPECT_EQ(keeping.push(bos), "<s>");
  EXPECT_EQ(keeping.push(6), " a");
}

}  // namespace
}  // namespace lychee::text
