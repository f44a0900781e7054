#include "cli/program.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "support/random.h"
#include "support/tiny_model.h"

namespace lychee::test {

namespace {

namespace fs = std::filesystem;

// lycheedecode with a cache folder of its own. Its streams are files, which no output fills.
class Program {
 public:
  Program(const std::vector<std::string>& arguments, const std::string& input) {
    write_text(in(), input);
    child_ = ::fork();
    if (child_ < 0) {
      throw std::system_error(errno, std::generic_category(), "fork");
    }
    if (child_ == 0) {
      become_program(arguments);
    }
  }

  [[nodiscard]] bool is_running() { return ::waitpid(child_, &status_, WNOHANG) == 0; }
  [[nodiscard]] bool has_answered() const { return fs::exists(out()) && !fs::is_empty(out()); }
  void send(int signal) const { ::kill(child_, signal); }
  // For one that has not been seen to end.
  [[nodiscard]] ProgramResult wait() {
    ::waitpid(child_, &status_, 0);
    return {.exit_code = WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_),
            .out = bytes_of(out()),
            .err = bytes_of(err())};
  }

 private:
  [[nodiscard]] std::string in() const { return folder_.path() / "in"; }
  [[nodiscard]] std::string out() const { return folder_.path() / "out"; }
  [[nodiscard]] std::string err() const { return folder_.path() / "err"; }

  [[noreturn]] void become_program(std::vector<std::string> arguments) const {
    constexpr int kWrite = O_WRONLY | O_CREAT;
    ::setenv("XDG_CACHE_HOME", folder_.path().c_str(), 1);
    ::dup2(::open(in().c_str(), O_RDONLY), STDIN_FILENO);
    ::dup2(::open(out().c_str(), kWrite, 0600), STDOUT_FILENO);
    ::dup2(::open(err().c_str(), kWrite, 0600), STDERR_FILENO);
    std::vector<char*> argv;
    std::string program = LYCHEE_PROGRAM;
    argv.push_back(program.data());
    for (std::string& argument : arguments) {
      argv.push_back(argument.data());
    }
    argv.push_back(nullptr);
    ::execv(program.c_str(), argv.data());
    ::_exit(127);
  }

  TemporaryFolder folder_;
  pid_t child_;
  int status_ = 0;
};

int64_t count_lines(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return std::count(std::istreambuf_iterator<char>(stream), {}, '\n');
}

bool is_printable_line(const std::string& line) {
  for (const char c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      return false;
    }
  }
  return true;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

// Again from the beginning where the program had ended before its moment; in the end nullopt.
std::optional<ProgramResult> stop_when(const std::vector<std::string>& arguments, int signal,
                                       const fs::path& file, const std::function<bool()>& is_time,
                                       std::chrono::microseconds delay) {
  constexpr int kAttempts = 5;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    Program program(arguments, "");
    while (!is_time() && program.is_running()) {
      std::this_thread::yield();
    }
    std::this_thread::sleep_for(delay);
    if (program.is_running()) {
      program.send(signal);
      return program.wait();
    }
    fs::remove_all(file.parent_path());
  }
  return std::nullopt;
}

}  // namespace

std::string bytes_of(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

ProgramResult run_program(const std::vector<std::string>& arguments, const std::string& input) {
  return Program(arguments, input).wait();
}

ProgramResult stop_program(const std::vector<std::string>& arguments, int signal,
                           const fs::path& file, int64_t lines) {
  const std::optional<ProgramResult> result = stop_when(
      arguments, signal, file, [&] { return fs::exists(file) && count_lines(file) >= lines; }, {});
  EXPECT_TRUE(result) << "the program always ended before " << file << " had " << lines << " lines";
  return result.value_or(ProgramResult{});
}

ProgramResult stop_answer(const std::vector<std::string>& arguments, int signal,
                          const std::string& input) {
  Program program(arguments, input);
  while (!program.has_answered() && program.is_running()) {
    std::this_thread::yield();
  }
  program.send(signal);
  return program.wait();
}

bool stop_program_at_byte(const std::vector<std::string>& arguments, int signal,
                          const fs::path& file, uintmax_t bytes, std::chrono::microseconds delay) {
  const auto has_bytes = [&] {
    std::error_code error;
    const uintmax_t size = fs::file_size(file, error);
    return bytes == 0 || (!error && size >= bytes);
  };
  return stop_when(arguments, signal, file, has_bytes, delay).has_value();
}

Json run_json(std::vector<std::string> arguments, const std::string& input) {
  arguments.emplace_back("--json");
  const ProgramResult result = run_program(arguments, input);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, testing::EndsWith("}\n"));
  Json json = Json::parse(result.out, nullptr, false);
  if (!json.is_object()) {  // no caller has anything to look at
    throw std::runtime_error("no JSON but: " + result.out + result.err);
  }
  EXPECT_TRUE(json.contains("version") && json["version"].is_string());
  EXPECT_TRUE(json.contains("options") && json["options"].is_object());
  return json;
}

void expect_failure(const std::vector<std::string>& arguments, int exit_code,
                    const std::vector<std::string>& parts, const std::string& input) {
  const ProgramResult result = run_program(arguments, input);
  std::string command;
  for (const std::string& argument : arguments) {
    command += argument.substr(0, 60) + " ";
  }
  SCOPED_TRACE(command);
  EXPECT_EQ(result.exit_code, exit_code) << result.err;
  EXPECT_EQ(result.out, "");
  const std::vector<std::string> lines = lines_of(result.err);
  ASSERT_EQ(lines.size(), 1U) << result.err;
  EXPECT_THAT(lines[0], testing::StartsWith("error: "));
  EXPECT_THAT(lines[0], testing::Not(testing::HasSubstr("internal")));
  EXPECT_LE(lines[0].size(), 1000U) << lines[0];
  EXPECT_TRUE(is_printable_line(lines[0])) << lines[0];
  for (const std::string& part : parts) {
    EXPECT_THAT(lines[0], testing::HasSubstr(part));
  }
}

std::vector<std::string> needle(const std::string& command, const std::vector<std::string>& more) {
  return concat({command, "--model", "builtin:needle", "--threads", "1"}, more);
}

std::vector<std::string> concat(std::vector<std::string> first,
                                const std::vector<std::string>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

std::vector<std::string> small_budget() {
  return {"--budget", "24", "--sink", "4", "--recent", "8"};
}

std::string FilesTest::file(const std::string& name, const std::string& text) const {
  write_text(path(name), text);
  return path(name);
}

std::string FilesTest::tiny_model() const {
  const io::ModelConfig config = tiny_config();
  write_hf_folder(path("tiny"), config, tiny_weights(config));
  return path("tiny");
}

std::string FilesTest::text_model() const {
  io::ModelConfig config = tiny_config();
  config.vocab_size = 768;
  config.context_length = 1024;
  write_hf_folder(path("text"), config, tiny_weights(config));
  const fs::path data = fs::path(LYCHEE_SOURCE_DIR) / "tests/data";
  fs::copy_file(data / "tokenizers/smollm/tokenizer.json", path("text/tokenizer.json"),
                fs::copy_options::overwrite_existing);
  fs::copy_file(data / "chat/smollm2.jinja", path("text/chat_template.jinja"),
                fs::copy_options::overwrite_existing);
  return path("text");
}

std::string FilesTest::ids_file(int64_t count, int vocab) const {
  Random random;
  std::string text;
  for (int64_t i = 0; i < count; ++i) {
    text += std::to_string(random.integer(3, vocab - 1)) + (i % 7 == 6 ? "\n" : " ");
  }
  return file("ids" + std::to_string(count) + ".txt", text);
}

}  // namespace lychee::test
