#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "io/fetch/catalogue.h"
#include "io/fetch/fetch_options.h"

namespace lychee::io {

struct FetchResult {
  std::filesystem::path path;  // a GGUF file or a model folder, to be given to open_model
  int64_t bytes = 0;
  std::string
      sha256;  // of the file; of a folder: of its lines "<sha256>  <file>\n", sorted by file
  std::string source;  // where it came from; "cache" when it was there already
};

// Makes the model `name` (a catalogue name, or `hf:OWNER/REPO[/FILE]`) present in models_dir(),
// checked against its size and hash and moved there in one rename. Several threads and processes
// may fetch the same model: one does, the others wait and share. An interrupted fetch leaves only
// hidden files, which the next one resumes. Throws Error(kInvalidArgument) for what the user can
// mend (the name, the permission), Error(kIo) for network, disk and checksum; the message says why
// each source failed.
FetchResult fetch(const std::string& name, const FetchOptions& options = {});

// The same for an entry that the catalogue need not hold.
FetchResult fetch_entry(const CatalogueEntry& entry, const FetchOptions& options = {});

// True when the file of `entry` lies in the cache with the right size. Its hash is left to fetch():
// at every start of the program it would cost more than opening the model.
[[nodiscard]] bool is_cached(const CatalogueEntry& entry);

// Turns `--model` into what open_model takes: paths, `builtin:…` and `shape:…` as they are,
// catalogue names into the fetched file, `hf:…` into the cached copy, which is fetched first when
// absent. Catalogue names win over files of the same name (write ./name for those). Throws
// Error(kInvalidArgument) for a catalogue model that is not fetched yet, saying how to, and for a
// path where nothing lies.
[[nodiscard]] std::filesystem::path resolve_model(const std::string& model,
                                                  const FetchOptions& options = {});

}  // namespace lychee::io
