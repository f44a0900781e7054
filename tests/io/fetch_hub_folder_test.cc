// Model folders of the hub: which files are taken, and that the folder appears whole or not at all.
#include "io/fetch/fetch_hub_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/fetch/fetch_hub.h"
#include "io/fetch/sha256.h"
#include "io/hub_server.h"

namespace lychee::io {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;
using testing::UnorderedElementsAre;

class FetchFolder : public testing::Test {
 protected:
  FetchFolder() {
    auto& files = hub().repos["org/model"];
    files["config.json"] = {"{}", false, "", {}};
    files["tokenizer.json"] = {"{\"a\":1}", false, "", {}};
    files["model.safetensors.index.json"] = {"{\"i\":1}", false, "", {}};
    files["model-00001-of-00002.safetensors"] = {pattern_bytes(100'000), true, "", {}};
    files["model-00002-of-00002.safetensors"] = {pattern_bytes(50'000), true, "", {}};
    files["consolidated.safetensors"] = {"the same again", true, "", {}};
    files["pytorch_model.bin"] = {"pickled", true, "", {}};
    files["README.md"] = {"text", false, "", {}};
    files["onnx/model.onnx"] = {"other", true, "", {}};
  }

  HubServer& hub() { return fixture_.hub; }
  FetchResult get(const std::string& name) { return fetch(name, options_); }
  std::string fail(const std::string& name) {
    return error_of([&] { (void)get(name); });
  }

  FetchFixture fixture_;
  FetchOptions options_{.progress = {}, .retry_wait = std::chrono::milliseconds(1)};
};

TEST_F(FetchFolder, TakesOneSetOfWeightsAndWhatBelongsToIt) {
  int64_t last = 0;
  options_.progress = [&](int64_t bytes, int64_t total) {
    EXPECT_EQ(total, 150'016);
    EXPECT_GT(bytes, last);
    last = bytes;
  };
  const FetchResult result = get("hf:org/model");
  EXPECT_EQ(last, 150'016);
  EXPECT_EQ(result.bytes, 150'016);
  EXPECT_EQ(result.path, fixture_.cache / "lycheedecode/models/hf/org/model");
  EXPECT_THAT(result.source, HasSubstr("/org/model/tree/0123456789abcdef"));
  EXPECT_THAT(
      fixture_.cached_files(),
      ElementsAre("hf/org/model/.fetched.json", "hf/org/model/config.json",
                  "hf/org/model/model-00001-of-00002.safetensors",
                  "hf/org/model/model-00002-of-00002.safetensors",
                  "hf/org/model/model.safetensors.index.json", "hf/org/model/tokenizer.json"));
  std::string lines;
  for (const char* name :
       {"config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
        "model.safetensors.index.json", "tokenizer.json"}) {
    lines += sha256_file(result.path / name) + "  " + name + "\n";
  }
  EXPECT_EQ(result.sha256, sha256_hex(lines));
  hub().forget();
  const FetchResult again = get("hf:org/model");
  EXPECT_EQ(again.source, "cache");
  EXPECT_EQ(again.sha256, result.sha256);
  EXPECT_EQ(resolve_model("hf:org/model"), result.path);
  EXPECT_THAT(hub().seen(), IsEmpty());
}

TEST_F(FetchFolder, ResolveFetchesWhatIsAbsent) {
  EXPECT_TRUE(fs::exists(resolve_model("hf:org/model", options_) / "config.json"));
}

TEST_F(FetchFolder, SizesComeFromTheFilesWhenTheListingHasNone) {
  hub().sizes = false;
  EXPECT_EQ(get("hf:org/model").bytes, 150'016);
}

TEST_F(FetchFolder, InterruptedFolderIsHiddenAndResumedFileByFile) {
  options_.progress = [](int64_t bytes, int64_t) {
    if (bytes > 120'000) {
      throw std::runtime_error("stop");
    }
  };
  EXPECT_THROW((void)get("hf:org/model"), std::runtime_error);
  for (const std::string& name : fixture_.cached_files()) {
    EXPECT_THAT(name, StartsWith("hf/org/.model.part/"));
  }
  EXPECT_FALSE(find_cached_hub_model(parse_hub_name("hf:org/model")).has_value());
  options_.progress = {};
  hub().forget();
  EXPECT_EQ(get("hf:org/model").bytes, 150'016);
  EXPECT_EQ(hub().count_downloads(), 1);  // the first shard was whole
}

TEST_F(FetchFolder, DamagedFolderIsFetchedAgain) {
  const fs::path shard = get("hf:org/model").path / "model-00002-of-00002.safetensors";
  fs::resize_file(shard, 10);
  EXPECT_THAT(get("hf:org/model").source, HasSubstr("/tree/"));
  EXPECT_EQ(fs::file_size(shard), 50'000U);
}

TEST_F(FetchFolder, SingleGgufIsTheModel) {
  hub().repos["org/quant"]["README.md"] = {"text", false, "", {}};
  hub().repos["org/quant"]["m.gguf"] = {"GGUF", true, "", {}};
  const FetchResult result = get("hf:org/quant");
  EXPECT_EQ(result.path.filename(), "m.gguf");
  EXPECT_EQ(result.sha256, sha256_hex("GGUF"));
  EXPECT_EQ(resolve_model("hf:org/quant"), result.path);
  EXPECT_EQ(get("hf:org/quant").source, "cache");
}

TEST_F(FetchFolder, SeveralGgufsAreListed) {
  hub().repos["org/quant"]["a.gguf"] = {"GGUF", true, "", {}};
  hub().repos["org/quant"]["b.gguf"] = {"GGUF", true, "", {}};
  EXPECT_THAT(fail("hf:org/quant"), AllOf(StartsWith("user: "), HasSubstr("a.gguf, b.gguf"),
                                          HasSubstr("hf:org/quant/FILE")));
}

TEST_F(FetchFolder, GgufInAFolderMustBeNamed) {
  hub().repos["org/quant"]["q4/a.gguf"] = {"GGUF", true, "", {}};
  EXPECT_THAT(fail("hf:org/quant"), HasSubstr("hf:org/quant/q4/a.gguf"));
  EXPECT_EQ(read_all(get("hf:org/quant/q4/a.gguf").path), "GGUF");
}

TEST_F(FetchFolder, RepositoryWithoutAModelIsRefused) {
  hub().repos["org/empty"]["pytorch_model.bin"] = {"pickled", true, "", {}};
  EXPECT_THAT(fail("hf:org/empty"), AllOf(StartsWith("user: "), HasSubstr("neither")));
}

TEST_F(FetchFolder, MalformedListings) {
  for (const char* text :
       {"[]", "{", R"({"siblings":3})", R"({"siblings":[{"rfilename":7}]})", R"({"siblings":[3]})",
        R"({"siblings":[{"rfilename":"a","size":{}}]})"}) {
    hub().raw_listing = text;
    EXPECT_THAT(fail("hf:org/model"), AllOf(StartsWith("io: "), HasSubstr("listing"))) << text;
  }
  hub().raw_listing =
      R"({"sha":"1","siblings":[{"rfilename":"../../config.json"},{"rfilename":"../m.safetensors"}]})";
  EXPECT_THAT(fail("hf:org/model"), HasSubstr("neither"));
  EXPECT_THAT(fixture_.cached_files(), IsEmpty());
}

}  // namespace
}  // namespace lychee::io
