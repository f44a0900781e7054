#include <stdlib.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "io/head_plan/head_plan_duo.h"
#include "io/head_plan/head_plan_files.h"
#include "io/head_plan/head_plan_spec.h"
#include "lychee/error.h"

namespace {

namespace fs = std::filesystem;

// One folder for the whole run, removed at its end.
struct Folder {
  fs::path path;
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "head-plan-fuzz-XXXXXX").string();
    path = ::mkdtemp(pattern.data()) == nullptr ? fs::temp_directory_path() : fs::path(pattern);
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

void write(const fs::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary)
      .write(text.data(), static_cast<std::streamsize>(text.size()));
}

template <typename Fn>
void try_to(Fn&& fn) {
  try {
    fn();
  } catch (const lychee::Error&) {
    return;
  }
}

}  // namespace

// The input up to the first zero byte is head_roles.tsv, the rest lychee_config.json.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Folder folder;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t cut = input.find('\0');
  const std::string_view table = input.substr(0, cut);
  const std::string_view config =
      cut == std::string_view::npos ? std::string_view() : input.substr(cut + 1);
  write(folder.path / "head_roles.tsv", table);
  write(folder.path / "lychee_config.json", config);
  try_to([&] { static_cast<void>(lychee::io::read_head_plan_folder(folder.path)); });
  try_to([&] {
    static_cast<void>(lychee::io::import_duo(folder.path / "head_roles.tsv",
                                             {.threshold = 0.5, .num_retrieval = {}}));
  });
  try_to([&] {
    static_cast<void>(lychee::io::import_duo(folder.path / "head_roles.tsv",
                                             {.threshold = {}, .num_retrieval = 4}));
  });
  try_to([&] {
    const auto spec = lychee::io::parse_head_plan_spec(std::string(table));
    if (spec.kind != lychee::io::HeadPlanSpec::Kind::kFolder) {
      static_cast<void>(lychee::io::resolve_head_plan(spec, {6, 8, 4, 64}));
    }
  });
  return 0;
}
