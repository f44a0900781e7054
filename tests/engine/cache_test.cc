// Pages of the KV cache as sequences come, fork and end.

#include <gtest/gtest.h>

#include <limits>
#include <optional>

#include "engine/tiny_engine.h"
#include "support/expect_error.h"

namespace lychee::test {
namespace {

class CacheTest : public testing::Test {
 protected:
  static Sequence prefilled(Engine& engine, int64_t count, const GenerationOptions& options = {}) {
    Sequence sequence = engine.create_sequence(options);
    engine.prefill(sequence, tokens(count));
    return sequence;
  }

  TinyEngine tiny_;
};

TEST_F(CacheTest, CapacityIsWhatWasAskedForInWholePages) {
  EXPECT_EQ(tiny_.open(1).cache_capacity(), 64);
  EXPECT_EQ(tiny_.open(64).cache_capacity(), 64);
  EXPECT_EQ(tiny_.open(65).cache_capacity(), 128);
  EXPECT_GT(tiny_.open(0).cache_capacity(), 1 << 20);  // what memory allows
  EXPECT_EQ(tiny_.open().cache_bytes_per_token(), 2 * 3 * 2 * 16 * 4);
}

TEST_F(CacheTest, EndedSequencesGiveTheirPagesBack) {
  Engine engine = tiny_.open();
  EXPECT_EQ(engine.cache_tokens_in_use(), 0);
  {
    Sequence a = prefilled(engine, 65);
    EXPECT_EQ(engine.cache_tokens_in_use(), 128);
    const Sequence b = engine.fork(a);
    EXPECT_EQ(engine.cache_tokens_in_use(), 128);
    engine.decode(a, 5);  // a copy of the page that both write next
    EXPECT_EQ(engine.cache_tokens_in_use(), 192);
    engine.decode(a, 6);
    EXPECT_EQ(engine.cache_tokens_in_use(), 192);
    const Sequence moved = std::move(a);
    EXPECT_EQ(moved.length(), 67);
    EXPECT_EQ(engine.cache_tokens_in_use(), 192);
  }
  EXPECT_EQ(engine.cache_tokens_in_use(), 0);
  Sequence c = prefilled(engine, 200);
  engine.truncate(c, 64);
  EXPECT_EQ(engine.cache_tokens_in_use(), 64);
  engine.truncate(c, 0);
  EXPECT_EQ(engine.cache_tokens_in_use(), 0);
  c = engine.create_sequence({});
}

TEST_F(CacheTest, ForkOutlivesItsParent) {
  Engine engine = tiny_.open();
  std::optional<Sequence> parent = prefilled(engine, 100);
  Sequence child = engine.fork(*parent);
  const std::vector<float> logits = logits_of(child);
  parent.reset();
  Sequence other = prefilled(engine, 150);  // would take the freed pages
  engine.decode(child, 9);
  Sequence fresh = prefilled(engine, 100);
  EXPECT_EQ(logits_of(fresh), logits);
  engine.decode(fresh, 9);
  EXPECT_EQ(logits_of(child), logits_of(fresh));
}

TEST_F(CacheTest, TruncatedForkLeavesTheOtherSideAlone) {
  Engine engine = tiny_.open();
  Sequence parent = prefilled(engine, 100);
  Sequence child = engine.fork(parent);
  engine.truncate(child, 70);
  engine.prefill(child, tokens(60, 40));
  Sequence fresh = prefilled(engine, 100);
  engine.decode(parent, 9);
  engine.decode(fresh, 9);
  EXPECT_EQ(logits_of(parent), logits_of(fresh));
}

TEST_F(CacheTest, FullCacheLeavesSequencesUnchanged) {
  Engine engine = tiny_.open(128);
  Sequence a = prefilled(engine, 60);
  const std::vector<float> before = logits_of(a);
  expect_error(ErrorCode::kOutOfMemory, "129 tokens", [&] {
    Sequence large = engine.create_sequence({});
    engine.prefill(large, tokens(129));
  });
  EXPECT_EQ(engine.cache_tokens_in_use(), 64);
  expect_error(ErrorCode::kOutOfMemory, "160 tokens does not fit",
               [&] { engine.prefill(a, tokens(100)); });
  EXPECT_EQ(a.length(), 60);
  EXPECT_EQ(logits_of(a), before);
  EXPECT_EQ(engine.cache_tokens_in_use(), 64);
  Sequence b = prefilled(engine, 64);
  const std::vector<float> logits_b = logits_of(b);
  // The first has room, the second has not: neither is fed.
  const std::vector<Sequence*> batch = {&a, &b};
  const std::vector<int32_t> ids = {5, 6};
  expect_error(ErrorCode::kOutOfMemory, "65 tokens", [&] { engine.decode(batch, ids); });
  EXPECT_EQ(a.length(), 60);
  EXPECT_EQ(b.length(), 64);
  EXPECT_EQ(logits_of(a), before);
  EXPECT_EQ(logits_of(b), logits_b);
  engine.decode(a, 5);
  EXPECT_EQ(a.length(), 61);
  Engine roomy = tiny_.open();
  Sequence fresh = prefilled(roomy, 60);
  roomy.decode(fresh, 5);
  EXPECT_EQ(logits_of(a), logits_of(fresh));
}

TEST_F(CacheTest, ForkNeedsAPageToWrite) {
  Engine engine = tiny_.open(64);
  Sequence parent = prefilled(engine, 60);
  {
    Sequence child = engine.fork(parent);
    expect_error(ErrorCode::kOutOfMemory, "61 tokens", [&] { engine.decode(child, 5); });
    EXPECT_EQ(child.length(), 60);
  }
  engine.decode(parent, 5);
  EXPECT_EQ(parent.length(), 61);
}

// 200 tokens take four pages, their summaries one more.
TEST_F(CacheTest, PageSummariesTakePagesToo) {
  GenerationOptions options;
  options.policy = Policy::kPageBound;
  options.selection = Selection{.budget = 32, .sink = 4, .recent = 8};
  Engine small = tiny_.open(256);
  expect_error(ErrorCode::kOutOfMemory, "at most 192 fit", [&] {
    Sequence sequence = small.create_sequence(options);
    small.prefill(sequence, tokens(200));
  });
  EXPECT_EQ(small.cache_tokens_in_use(), 0);
  Engine engine = tiny_.open(7 * 64);
  Sequence parent = engine.create_sequence(options);
  engine.prefill(parent, tokens(200));
  engine.decode(parent, 5);
  EXPECT_EQ(engine.cache_tokens_in_use(), 5 * 64);
  {
    // A fork shares them until it writes: one page of tokens and the page of summaries.
    Sequence child = engine.fork(parent);
    EXPECT_EQ(engine.cache_tokens_in_use(), 5 * 64);
    engine.decode(child, 6);
    EXPECT_EQ(engine.cache_tokens_in_use(), 7 * 64);
  }
  engine.truncate(parent, 64);
  EXPECT_EQ(engine.cache_tokens_in_use(), 2 * 64);
  Sequence dense = engine.fork(parent, {});
  engine.truncate(parent, 0);
  EXPECT_EQ(engine.cache_tokens_in_use(), 64);
}

// A correction rewrites tokens of the page before: shared, it needs a copy as well.
TEST_F(CacheTest, CorrectionCopiesEveryPageItWrites) {
  Engine engine = tiny_.open();
  GenerationOptions options = small_hybrid();
  options.cache_correction = 4;
  Sequence a = prefilled(engine, 62, options);
  for (const int32_t id : {5, 6, 7}) {
    engine.decode(a, id);
  }
  EXPECT_EQ(engine.cache_tokens_in_use(), 128);
  Sequence b = engine.fork(a);
  engine.decode(b, 8);
  EXPECT_EQ(b.stats().corrections, 1);
  EXPECT_EQ(engine.cache_tokens_in_use(), 256);
  // The parent corrects by itself, and gets the same.
  engine.decode(a, 8);
  EXPECT_EQ(logits_of(a), logits_of(b));
}

TEST_F(CacheTest, EngineRefusesImpossibleOptions) {
  const auto refused = [&](const std::string& part, auto change) {
    EngineOptions options = tiny_.options();
    change(options);
    expect_error(ErrorCode::kInvalidArgument, part, [&] { const Engine engine(options); });
  };
  refused("threads -1", [](EngineOptions& options) { options.threads = -1; });
  refused("threads 100000 must be between 0 (all cores) and 1024",
          [](EngineOptions& options) { options.threads = 100000; });
  refused("-1 sequences", [](EngineOptions& options) { options.max_sequences = -1; });
  refused("-1 tokens", [](EngineOptions& options) { options.max_cache_tokens = -1; });
  refused("9223372036854775807 tokens", [](EngineOptions& options) {
    options.max_cache_tokens = std::numeric_limits<int64_t>::max();
  });
  refused("prefill chunk -1", [](EngineOptions& options) { options.prefill_chunk = -1; });
  EngineOptions cuda = tiny_.options();
  cuda.device = Device::kCuda;
  expect_error(ErrorCode::kUnsupported, "device cuda", [&] { const Engine engine(cuda); });
}

}  // namespace
}  // namespace lychee::test
