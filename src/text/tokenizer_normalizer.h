#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "io/model_files.h"

namespace lychee::text {

// Runs normaliser steps over one segment of text. Immutable.
class Normalizer {
 public:
  explicit Normalizer(std::vector<io::NormalizerStep> steps) : steps_(std::move(steps)) {}

  // `text` (valid UTF-8) itself when nothing changes, else a result held by `storage`.
  [[nodiscard]] std::string_view apply(std::string_view text, std::string& storage) const;

 private:
  std::vector<io::NormalizerStep> steps_;
};

}  // namespace lychee::text
