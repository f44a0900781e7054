#include "training/run_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "base/check.h"
#include "base/text_file.h"

namespace lychee::training {
namespace {

namespace fs = std::filesystem;

constexpr const char* kHeader =
    "step,loss,density,lambda,learning_rate,num_retrieval,skipped,seconds,prefill_s,teacher_s,"
    "student_s,loss_s,backward_s\n";

// A run that was refused before its first step leaves only the header.
bool has_steps(const fs::path& log) {
  std::error_code error;
  return fs::exists(log, error) && std::ranges::count(read_text_file(log), '\n') > 1;
}

// Options are a line each.
void check_options(const fs::path& path, const std::string& options) {
  std::error_code error;
  if (!fs::exists(path, error)) {
    return;  // the checkpoint tells whether they are its own, though not where they differ
  }
  std::istringstream kept(read_text_file(path));
  std::istringstream now(options);
  std::string before;
  std::string after;
  while (std::getline(now, after)) {
    require(std::getline(kept, before) && before == after, ErrorCode::kInvalidArgument,
            path.string(), " belongs to a run of other options:", before, " then,", after,
            " now; give those, or another --out folder");
  }
}

}  // namespace

RunFolder::RunFolder(fs::path folder, std::string options, bool resume)
    : folder_(std::move(folder)), options_(std::move(options)) {
  require(!folder_.empty(), ErrorCode::kInvalidArgument,
          "--out is empty: name a folder for the run");
  std::error_code error;
  fs::create_directories(folder_, error);
  require(!error, ErrorCode::kIo, "cannot create ", folder_.string(), ": ", error.message());
  const fs::path checkpoint = folder_ / "checkpoint.bin";
  const fs::path log = folder_ / "log.csv";
  const bool has_run = fs::exists(checkpoint, error) || has_steps(log);
  require(resume || !has_run, ErrorCode::kInvalidArgument, folder_.string(),
          " holds a run already: give --resume to go on, or another folder");
  if (fs::exists(checkpoint, error)) {
    check_options(folder_ / "options.json", options_);
    checkpoint_ = decode_checkpoint(read_text_file(checkpoint), options_, checkpoint.string());
  } else {
    write_and_rename(folder_ / "options.json", options_);
  }
  cut_log(checkpoint_ ? checkpoint_->training.step : 0);
  log_.open(log, std::ios::binary | std::ios::app);
  require(log_.good(), ErrorCode::kIo, "cannot write ", log.string());
}

// Steps after the checkpoint are done again, and logged again.
void RunFolder::cut_log(int64_t steps) const {
  const fs::path path = folder_ / "log.csv";
  std::error_code error;
  std::string kept = kHeader;
  if (steps > 0 && fs::exists(path, error)) {
    std::istringstream lines(read_text_file(path));
    std::string line;
    std::getline(lines, line);
    for (int64_t step = 0; step < steps && std::getline(lines, line) && !lines.eof(); ++step) {
      kept += line + "\n";
    }
  }
  write_and_rename(path, kept);
}

void RunFolder::log(const StepRecord& record, double seconds, const StepTimes& times) {
  log_ << fmt::format("{},{:.9g},{:.9g},{:.9g},{:.6g},{},{},", record.step, record.loss,
                      record.density, record.lambda, record.learning_rate, record.num_retrieval,
                      record.skipped)
       << fmt::format("{:.3f},{:.3f},{:.3f},{:.3f},{:.3f},{:.3f}\n", seconds, times.prefill,
                      times.teacher, times.student, times.loss, times.backward)
       << std::flush;
  require(log_.good(), ErrorCode::kIo, "cannot write ", (folder_ / "log.csv").string());
}

void RunFolder::write_checkpoint(const RunState& state) const {
  write_and_rename(folder_ / "checkpoint.bin", encode_checkpoint(state, options_));
}

void RunFolder::write_rounds(const RefinerState& state, int num_kv_heads) const {
  std::string csv = "round,before,after,opened,closed\n";
  for (size_t i = 0; i < state.rounds.size(); ++i) {
    std::string opened;
    std::string closed;
    for (const RefinerSwap& swap : state.swaps) {
      if (swap.round == static_cast<int64_t>(i)) {
        opened += (opened.empty() ? "" : " ") + head_name(swap.opened, num_kv_heads);
        closed += (closed.empty() ? "" : " ") + head_name(swap.closed, num_kv_heads);
      }
    }
    csv += fmt::format("{},{:.9g},{:.9g},{},{}\n", i + 1, state.rounds[i].before,
                       state.rounds[i].after, opened, closed);
  }
  write_and_rename(folder_ / "refine.csv", csv);
}

void RunFolder::write_report(const std::string& html) const {
  write_and_rename(folder_ / "report.html", html);
}

}  // namespace lychee::training
