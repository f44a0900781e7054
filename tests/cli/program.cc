#include "cli/program.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <system_error>
#include <thread>

#include "support/random.h"
#include "support/tiny_model.h"

namespace lychee::test {

namespace {

namespace fs = std::filesystem;

class Pipe {
 public:
  Pipe() {
    if (::pipe2(ends_.data(), O_CLOEXEC) != 0) {
      throw std::system_error(errno, std::generic_category(), "pipe2");
    }
  }
  ~Pipe() {
    close_read();
    close_write();
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  [[nodiscard]] int read_end() const { return ends_[0]; }
  [[nodiscard]] int write_end() const { return ends_[1]; }
  void close_read() { close_end(ends_[0]); }
  void close_write() { close_end(ends_[1]); }

 private:
  static void close_end(int& end) {
    if (end >= 0) {
      ::close(std::exchange(end, -1));
    }
  }
  std::array<int, 2> ends_{-1, -1};
};

// Reads both until both end: a program may fill one pipe while the other is silent.
void drain(Pipe& out, Pipe& err, ProgramResult& result) {
  std::array<pollfd, 2> polled = {{{out.read_end(), POLLIN, 0}, {err.read_end(), POLLIN, 0}}};
  const std::array<std::string*, 2> texts = {&result.out, &result.err};
  size_t open = polled.size();
  while (open > 0 && ::poll(polled.data(), polled.size(), -1) >= 0) {
    for (size_t i = 0; i < polled.size(); ++i) {
      if (polled[i].fd < 0 || polled[i].revents == 0) {
        continue;
      }
      std::array<char, 4096> buffer{};
      const ssize_t size = ::read(polled[i].fd, buffer.data(), buffer.size());
      if (size > 0) {
        texts[i]->append(buffer.data(), static_cast<size_t>(size));
      } else {
        polled[i].fd = -1;
        --open;
      }
    }
  }
}

[[noreturn]] void become_program(const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  std::string program = LYCHEE_PROGRAM;
  argv.push_back(program.data());
  std::vector<std::string> copies = arguments;
  for (std::string& argument : copies) {
    argv.push_back(argument.data());
  }
  argv.push_back(nullptr);
  ::execv(program.c_str(), argv.data());
  ::_exit(127);
}

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

}  // namespace

ProgramResult run_program(const std::vector<std::string>& arguments, const std::string& input) {
  const TemporaryFolder cache;
  Pipe in;
  Pipe out;
  Pipe err;
  const pid_t child = ::fork();
  if (child < 0) {
    throw std::system_error(errno, std::generic_category(), "fork");
  }
  if (child == 0) {
    ::setenv("XDG_CACHE_HOME", cache.path().c_str(), 1);
    ::dup2(in.read_end(), STDIN_FILENO);
    ::dup2(out.write_end(), STDOUT_FILENO);
    ::dup2(err.write_end(), STDERR_FILENO);
    become_program(arguments);
  }
  in.close_read();
  out.close_write();
  err.close_write();
  std::signal(SIGPIPE, SIG_IGN);  // a program may end before it has read its input
  // Inputs of tests are smaller than a pipe's buffer.
  static_cast<void>(!::write(in.write_end(), input.data(), input.size()));
  in.close_write();
  ProgramResult result{};
  drain(out, err, result);
  int status = 0;
  ::waitpid(child, &status, 0);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

void stop_program(const std::vector<std::string>& arguments, int signal, const fs::path& file,
                  int64_t lines) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const int nowhere = ::open("/dev/null", O_WRONLY);
    ::dup2(nowhere, STDOUT_FILENO);
    ::dup2(nowhere, STDERR_FILENO);
    become_program(arguments);
  }
  bool running = true;
  while (running && (!fs::exists(file) || count_lines(file) < lines)) {
    std::this_thread::yield();
    running = ::waitpid(child, nullptr, WNOHANG) == 0;
  }
  ASSERT_TRUE(running) << "the program ended before line " << lines << " of " << file;
  ::kill(child, signal);
  ::waitpid(child, nullptr, 0);
}

Json run_json(std::vector<std::string> arguments, const std::string& input) {
  arguments.emplace_back("--json");
  const ProgramResult result = run_program(arguments, input);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, testing::EndsWith("}\n"));
  Json json = Json::parse(result.out, nullptr, false);
  EXPECT_TRUE(json.is_object()) << result.out << result.err;
  if (!json.is_object()) {
    return Json::object();
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
