#include "io/head_plan/shipped_plan.h"

#include <system_error>

#include "io/fetch/catalogue.h"

namespace lychee::io {
namespace {

namespace fs = std::filesystem;

// Empty for a model that the catalogue does not know.
std::string catalogue_name(const std::string& model) {
  const std::string file = fs::path(model).filename().string();
  for (const CatalogueEntry& entry : catalogue()) {
    if (entry.name == model || entry.file == file) {
      return entry.name;
    }
  }
  return "";
}

}  // namespace

std::optional<fs::path> find_shipped_plan(const std::string& model, const fs::path& beside) {
  const std::string name = catalogue_name(model);
  if (name.empty() || beside.empty()) {
    return std::nullopt;
  }
  // A program built in a checkout lies in build/<preset>/bin, an installed one in bin.
  constexpr int kLevels = 4;
  fs::path folder = beside;
  for (int level = 0; level < kLevels; ++level, folder = folder.parent_path()) {
    for (const char* place : {"plans", "share/lycheedecode/plans"}) {
      const fs::path plan = folder / place / name;
      std::error_code error;
      if (fs::exists(plan / "lychee_config.json", error)) {
        return plan;
      }
    }
  }
  return std::nullopt;
}

fs::path program_folder() {
  std::error_code error;
  return fs::read_symlink("/proc/self/exe", error).parent_path();
}

}  // namespace lychee::io
