// `hf:` models: files and folders of the hub, from a server on loopback that speaks its API.
#include "io/fetch/fetch_hub.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "io/fetch/fetch.h"
#include "io/fetch/sha256.h"
#include "io/hub_server.h"
#include "lychee/error.h"

namespace lychee::io {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr const char* kFile = "hf:org/model/model.gguf";

class FetchHub : public testing::Test {
 protected:
  FetchHub() { hub().repos["org/model"]["model.gguf"] = {content_, true, "", {}}; }

  HubServer& hub() { return fixture_.hub; }
  FetchResult get(const std::string& name) { return fetch(name, options_); }
  std::string fail(const std::string& name) {
    return error_of([&] { (void)get(name); });
  }

  FetchFixture fixture_;
  std::string content_ = pattern_bytes(300'000);
  FetchOptions options_{.progress = {}, .retry_wait = std::chrono::milliseconds(1)};
};

TEST_F(FetchHub, FileArrivesOnceAndIsReused) {
  const FetchResult result = get(kFile);
  EXPECT_EQ(read_all(result.path), content_);
  EXPECT_EQ(result.bytes, 300'000);
  EXPECT_EQ(result.sha256, sha256_hex(content_));
  EXPECT_EQ(result.source, hub().endpoint() + "/org/model/resolve/main/model.gguf");
  EXPECT_THAT(fixture_.cached_files(), ElementsAre("hf-files/org/model/model.gguf"));
  hub().forget();
  const FetchResult again = get(kFile);
  EXPECT_EQ(again.path, result.path);
  EXPECT_EQ(again.sha256, result.sha256);
  EXPECT_EQ(again.source, "cache");
  EXPECT_EQ(resolve_model(kFile), result.path);
  EXPECT_THAT(hub().seen(), IsEmpty());  // so the cache works offline
}

TEST_F(FetchHub, ProgressRunsToTheTotal) {
  int64_t last = 0;
  options_.progress = [&](int64_t bytes, int64_t total) {
    EXPECT_GT(bytes, last);
    EXPECT_EQ(total, 300'000);
    last = bytes;
  };
  (void)get(kFile);
  EXPECT_EQ(last, 300'000);
}

TEST_F(FetchHub, CutConnectionIsResumed) {
  hub().cuts = 2;
  hub().cut_bytes = 100'000;
  EXPECT_EQ(read_all(get(kFile).path), content_);
  std::vector<std::string> ranges;
  for (const SeenRequest& request : hub().seen()) {
    if (request.method == "GET" && request.to_storage) {
      ranges.push_back(request.range);
    }
  }
  EXPECT_THAT(ranges, ElementsAre("", "bytes=100000-", "bytes=200000-"));
}

TEST_F(FetchHub, ServerWithoutRangesStartsAnew) {
  hub().cuts = 1;
  hub().cut_bytes = 100'000;
  hub().ranges = false;
  EXPECT_EQ(read_all(get(kFile).path), content_);
}

TEST_F(FetchHub, ServerThatKeepsCuttingIsGivenUp) {
  hub().cuts = 1000;
  hub().cut_bytes = 0;
  EXPECT_THAT(fail(kFile), StartsWith("io: "));
  EXPECT_LE(hub().count_downloads(), 4);
}

TEST_F(FetchHub, BusyServerIsAskedAgain) {
  hub().failures = 2;
  EXPECT_EQ(read_all(get(kFile).path), content_);
}

TEST_F(FetchHub, InterruptedFetchLeavesNoModelAndIsResumed) {
  options_.progress = [](int64_t bytes, int64_t) {
    if (bytes > 100'000) {
      throw std::runtime_error("stop");
    }
  };
  EXPECT_THROW((void)get(kFile), std::runtime_error);
  EXPECT_THAT(fixture_.cached_files(),
              ElementsAre(AllOf(StartsWith("hf-files/org/model/.model.gguf."),
                                testing::EndsWith(".part"))));
  options_.progress = {};
  hub().forget();
  EXPECT_EQ(read_all(get(kFile).path), content_);
  EXPECT_THAT(hub().seen().back().range, StartsWith("bytes=1"));
  EXPECT_THAT(fixture_.cached_files(), ElementsAre("hf-files/org/model/model.gguf"));
}

TEST_F(FetchHub, CorruptPartIsFetchedAnew) {
  options_.progress = [](int64_t, int64_t) { throw std::runtime_error("stop"); };
  EXPECT_THROW((void)get(kFile), std::runtime_error);
  const fs::path part = fixture_.cache / "lycheedecode/models" / fixture_.cached_files().at(0);
  std::fstream(part, std::ios::in | std::ios::out | std::ios::binary).put('!');
  options_.progress = {};
  EXPECT_EQ(read_all(get(kFile).path), content_);
}

TEST_F(FetchHub, WrongChecksumIsRefused) {
  hub().repos["org/model"]["model.gguf"].linked_etag = std::string(64, 'a');
  EXPECT_THAT(fail(kFile), AllOf(StartsWith("io: "), HasSubstr("wrong checksum")));
  EXPECT_THAT(fixture_.cached_files(), IsEmpty());
}

TEST_F(FetchHub, WrongSizeIsRefused) {
  hub().repos["org/model"]["model.gguf"].linked_size = 299'999;
  EXPECT_THAT(fail(kFile), HasSubstr("more than the 299999 bytes"));
  hub().repos["org/model"]["model.gguf"].linked_size = 300'001;
  EXPECT_THAT(fail(kFile), AllOf(StartsWith("io: "), HasSubstr("300001 bytes")));
}

TEST_F(FetchHub, SmallFileIsCheckedAgainstItsGitBlob) {
  hub().repos["org/model"]["small.gguf"] = {"small", false, "", {}};
  EXPECT_EQ(read_all(get("hf:org/model/small.gguf").path), "small");
  const fs::path other = fixture_.cache / "blob";
  std::ofstream(other) << "small";
  EXPECT_EQ(find_mismatch(other, {"small", 5, "81c545efebe5f57d4cab2ba9ec294c4b0cadf672"}),
            "small has the wrong checksum: "
            "64c3ecd7abb014643a372e0155b41cfca014c01f where "
            "81c545efebe5f57d4cab2ba9ec294c4b0cadf672 was expected");
  EXPECT_EQ(find_mismatch(other, {"small", 4, ""}), "small has 5 bytes where 4 were expected");
}

TEST_F(FetchHub, MissingFileAndRepository) {
  EXPECT_THAT(fail("hf:org/model/other.gguf"),
              AllOf(StartsWith("user: "), HasSubstr("404"), HasSubstr("Entry not found")));
  EXPECT_THAT(fail("hf:org/absent"),
              AllOf(StartsWith("user: "), HasSubstr("Repository not found")));
  EXPECT_THAT(fixture_.cached_files(), IsEmpty());
}

TEST_F(FetchHub, TokenIsSentToTheHubAlone) {
  hub().required_token = "secret";
  EXPECT_THAT(fail(kFile), AllOf(StartsWith("user: "), HasSubstr("401"), HasSubstr("restricted"),
                                 HasSubstr("set HF_TOKEN")));
  {
    const ScopedVariable wrong("HF_TOKEN", "wrong");
    EXPECT_THAT(fail(kFile), HasSubstr("HF_TOKEN may not read it"));
  }
  hub().forget();
  const ScopedVariable token("HF_TOKEN", "secret\n");
  EXPECT_EQ(read_all(get(kFile).path), content_);
  EXPECT_EQ(hub().count_downloads(), 1);
  for (const SeenRequest& request : hub().seen()) {
    EXPECT_EQ(request.authorization, request.to_storage ? "" : "Bearer secret") << request.path;
  }
}

TEST_F(FetchHub, MalformedVariablesAreRefused) {
  {
    const ScopedVariable token("HF_TOKEN", "a\r\nHost: b");
    EXPECT_THAT(fail(kFile), AllOf(StartsWith("user: "), HasSubstr("HF_TOKEN")));
  }
  const ScopedVariable endpoint("HF_ENDPOINT", "ftp://host");
  EXPECT_THAT(fail(kFile), AllOf(StartsWith("user: "), HasSubstr("ftp://host")));
}

TEST_F(FetchHub, UnreachableHubIsAnIoError) {
  const ScopedVariable endpoint("HF_ENDPOINT", "http://127.0.0.1:1/");
  EXPECT_THAT(fail(kFile), AllOf(StartsWith("io: "), HasSubstr("127.0.0.1")));
}

TEST_F(FetchHub, ProxyOfTheEnvironmentIsUsed) {
  const ScopedVariable endpoint("HF_ENDPOINT", "http://hub.invalid");
  const ScopedVariable proxy("http_proxy", hub().endpoint());
  hub().repos["org/model"]["small.gguf"] = {"small", false, "", {}};
  EXPECT_EQ(read_all(get("hf:org/model/small.gguf").path), "small");
}

TEST_F(FetchHub, EndlessRedirectEnds) {
  HttpRequest request;
  request.url = hub().endpoint() + "/loop";
  const HttpResponse response = http_transfer(
      request, [](const HttpResponse&) {}, [](std::span<const std::byte>) {});
  EXPECT_THAT(response.failure, HasSubstr("redirected too often"));
}

TEST_F(FetchHub, ModelBeyondTheDiskIsRefusedBeforeItStarts) {
  hub().repos["org/model"]["model.gguf"].linked_size = int64_t{1} << 60U;
  EXPECT_THAT(fail(kFile), AllOf(StartsWith("io: not enough space"),
                                 HasSubstr("1152921504606846976 bytes needed"), HasSubstr("free")));
  EXPECT_EQ(hub().count_downloads(), 0);
}

TEST(HubName, Parses) {
  const HubName file = parse_hub_name("hf:Owner-1/Repo.x_2/sub/file name.gguf");
  EXPECT_EQ(file.owner, "Owner-1");
  EXPECT_EQ(file.repo, "Repo.x_2");
  EXPECT_EQ(file.file, "sub/file name.gguf");
  EXPECT_EQ(parse_hub_name("hf:a/b").file, "");
}

TEST(HubName, RefusesWhatWouldLeaveTheCache) {
  for (const char* name :
       {"hf:", "hf:a", "hf:/b", "hf:a/", "hf:../b", "hf:a/..", "hf:a/b/", "hf:a/b/../c",
        "hf:a/b//c", "hf:a/b/.hidden", "hf:a/b/c\\d", "hf:a/b/c\nd", "hf:a b/c", "hf:a/b%2f",
        "hf:.a/b", "hf:-a/b", "hf:a/b..c", "x:a/b", ""}) {
    EXPECT_THROW((void)parse_hub_name(name), Error) << name;
  }
  EXPECT_THROW((void)parse_hub_name("hf:a/b/" + std::string(201, 'x')), Error);
  EXPECT_THROW((void)parse_hub_name("hf:" + std::string(97, 'x') + "/b"), Error);
}

}  // namespace
}  // namespace lychee::io
