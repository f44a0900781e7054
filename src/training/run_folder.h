#pragma once

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "training/checkpoint.h"

namespace lychee::training {

// The --out folder of a run: options.json, log.csv, refine.csv, checkpoint.bin, and at the end the
// plan and report.html. All but the log are written whole or not at all.
class RunFolder {
 public:
  // `options` is the text of options.json. Throws Error(kIo) for a folder that cannot be written,
  // Error(kInvalidArgument) for one that holds a run when `resume` is false, or a run of other
  // options when it is true.
  RunFolder(std::filesystem::path folder, std::string options, bool resume);

  // Where an earlier run stopped; nothing when there is no checkpoint. Drops what the log holds
  // beyond it.
  [[nodiscard]] std::optional<RunState> take_checkpoint() { return std::move(checkpoint_); }
  void log(const StepRecord& record, double seconds, const StepTimes& times);
  void write_checkpoint(const RunState& state) const;
  // refine.csv: a line per finished round. `num_kv_heads`: of the model, to name heads.
  void write_rounds(const RefinerState& state, int num_kv_heads) const;
  void write_report(const std::string& html) const;

  [[nodiscard]] const std::filesystem::path& path() const { return folder_; }
  [[nodiscard]] const std::string& options() const { return options_; }

 private:
  void cut_log(int64_t steps) const;

  std::filesystem::path folder_;
  std::string options_;
  std::optional<RunState> checkpoint_;
  std::ofstream log_;
};

}  // namespace lychee::training
