#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "io/model_files.h"
#include "support/model_writer.h"

namespace lychee::test {

using Json = nlohmann::ordered_json;

[[nodiscard]] std::string bytes_of(const std::filesystem::path& path);

struct ProgramResult {
  int exit_code;  // 128 + n when signal n ended it
  std::string out;
  std::string err;
};

// Runs lycheedecode with a cache folder of its own and waits for it to end.
[[nodiscard]] ProgramResult run_program(const std::vector<std::string>& arguments,
                                        const std::string& input = "");

// Starts it, sends `signal` as soon as `file` has `lines` lines, and waits for it to end. Where it
// ended by itself before, because this process was not scheduled in time, the folder of `file` is
// removed and all is done again; the fifth time fails the test.
ProgramResult stop_program(const std::vector<std::string>& arguments, int signal,
                           const std::filesystem::path& file, int64_t lines);

// Starts it and sends `signal` as soon as there is something on its stdout.
[[nodiscard]] ProgramResult stop_answer(const std::vector<std::string>& arguments, int signal,
                                        const std::string& input = "");

// stop_program() `delay` after `file` has `bytes` bytes; 0: after the start. False, and no folder
// of `file`, where the program was always faster.
[[nodiscard]] bool stop_program_at_byte(const std::vector<std::string>& arguments, int signal,
                                        const std::filesystem::path& file, uintmax_t bytes,
                                        std::chrono::microseconds delay);

// Runs it with --json added; expects exit code 0 and that stdout holds one JSON object with
// `version` and `options`, and nothing else.
[[nodiscard]] Json run_json(std::vector<std::string> arguments, const std::string& input = "");

// Expects `exit_code`, nothing on stdout, and one printable line "error: …" on stderr that holds
// all `parts`.
void expect_failure(const std::vector<std::string>& arguments, int exit_code,
                    const std::vector<std::string>& parts, const std::string& input = "");

// --model builtin:needle --threads 1 behind `command`, then `more`.
[[nodiscard]] std::vector<std::string> needle(const std::string& command,
                                              const std::vector<std::string>& more = {});

[[nodiscard]] std::vector<std::string> concat(std::vector<std::string> first,
                                              const std::vector<std::string>& second);

// A folder with files for the program: every test its own.
class FilesTest : public testing::Test {
 protected:
  [[nodiscard]] std::string path(const std::string& name) const { return folder_.path() / name; }
  // Writes a file and returns its path.
  [[nodiscard]] std::string file(const std::string& name, const std::string& text) const;
  // A model folder without a tokenizer (tiny_model.h): 3 layers, vocabulary 96, context 256.
  [[nodiscard]] std::string tiny_model() const;
  // The same with the small SmolLM-like tokenizer and SmolLM2's chat template; vocabulary 768.
  [[nodiscard]] std::string text_model() const;
  // `count` ids below `vocab`, as a file.
  [[nodiscard]] std::string ids_file(int64_t count, int vocab = 96) const;

 private:
  TemporaryFolder folder_;
};

// Decoding options small enough for a few dozen tokens.
[[nodiscard]] std::vector<std::string> small_budget();

}  // namespace lychee::test
