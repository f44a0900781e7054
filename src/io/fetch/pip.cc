#include "io/fetch/pip.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <fstream>
#include <optional>
#include <thread>

#include "base/check.h"
#include "io/fetch/cache_dir.h"
#include "io/fetch/fetch_part_file.h"

namespace lychee::io {
namespace fs = std::filesystem;
namespace {

constexpr auto kPollInterval = std::chrono::milliseconds(50);

// How far an interrupted call came: `parts` are joined and made `bytes`.
struct JoinState {
  size_t parts = 0;
  int64_t bytes = 0;
};

JoinState read_state(const fs::path& path) {
  JoinState state;
  std::ifstream file(path);
  return file >> state.parts >> state.bytes ? state : JoinState{};
}

void write_state(const fs::path& path, const JoinState& state) {
  const fs::path fresh = path.string() + ".new";
  std::ofstream file(fresh);
  file << state.parts << ' ' << state.bytes << '\n';
  file.close();
  if (!file.good()) {
    throw DiskError("cannot write " + fresh.string());
  }
  fs::rename(fresh, path);
}

std::vector<std::string> child_environment(const fs::path& temporary) {
  // pip unpacks in TMPDIR, often a small memory disk; PIP_USER contradicts --target.
  const std::array<std::string, 3> ours = {"TMPDIR=" + temporary.string(), "PIP_USER=0",
                                           "PIP_REQUIRE_VIRTUALENV=0"};
  std::vector<std::string> environment(ours.begin(), ours.end());
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::string_view name = text.substr(0, text.find('='));
    if (std::ranges::none_of(ours, [&](const std::string& own) {
          return std::string_view(own).substr(0, own.find('=')) == name;
        })) {
      environment.emplace_back(text);
    }
  }
  return environment;
}

std::vector<char*> c_strings(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (std::string& text : texts) {
    pointers.push_back(text.data());
  }
  pointers.push_back(nullptr);
  return pointers;
}

// A running pip. Ended and collected on destruction, whatever happened meanwhile.
class PipProcess {
 public:
  PipProcess(std::vector<std::string> arguments, const fs::path& temporary, const fs::path& log,
             int lock_fd) {
    std::vector<std::string> environment = child_environment(temporary);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    // Onto itself: clears close-on-exec.
    posix_spawn_file_actions_adddup2(&actions, lock_fd, lock_fd);
    const int error = ::posix_spawnp(&pid_, arguments.front().c_str(), &actions, nullptr,
                                     c_strings(arguments).data(), c_strings(environment).data());
    posix_spawn_file_actions_destroy(&actions);
    require(error == 0, ErrorCode::kIo, "cannot run ", arguments.front(), ": ",
            std::strerror(error), " (install python3 and python3-pip)");
  }
  PipProcess(const PipProcess&) = delete;
  PipProcess& operator=(const PipProcess&) = delete;
  ~PipProcess() {
    if (pid_ > 0) {
      ::kill(pid_, SIGTERM);
      ::waitpid(pid_, nullptr, 0);
    }
  }

  // The exit status once it has ended; 128 + n when signal n ended it.
  std::optional<int> poll() {
    int status = 0;
    const pid_t ended = ::waitpid(pid_, &status, WNOHANG);
    if (ended == 0 || (ended < 0 && errno == EINTR)) {
      return std::nullopt;
    }
    pid_ = 0;
    if (ended < 0) {
      return 127;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_ = 0;
};

// pip's reason in one line.
std::string find_reason(const fs::path& log, int status) {
  std::ifstream file(log);
  std::string reason;
  std::string last;
  bool connection = false;
  for (std::string line; std::getline(file, line);) {
    connection = connection || line.find("Retrying (") != std::string::npos;
    if (reason.empty() && line.starts_with("ERROR: ")) {
      reason = line.substr(7);
    }
    last = line.empty() ? last : line;
  }
  reason = reason.empty() ? last : reason;
  if (reason.find("No module named pip") != std::string::npos) {
    reason += " (install python3-pip)";
  }
  if (connection) {
    reason += " (the package index could not be reached)";
  }
  return reason.empty() ? "exit status " + std::to_string(status) : reason;
}

int64_t largest_file(const fs::path& folder) {
  int64_t largest = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code vanished;
    const auto bytes = it->is_regular_file(vanished) ? it->file_size(vanished) : 0;
    largest = std::max(largest, vanished ? 0 : static_cast<int64_t>(bytes));
  }
  return largest;
}

// Leaves the part's file in `work`/wheel and returns its path.
fs::path fetch_part(const PipPart& part, const fs::path& work, int lock_fd,
                    const std::function<void(int64_t)>& progress) {
  fs::remove_all(work);
  create_folder(work / "tmp");
  const fs::path log = work / "pip.log";
  const std::string package = part.package + "==" + part.version;
  PipProcess process({"python3", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                      "--no-input", "--no-deps", "--no-compile", "--no-cache-dir", "--only-binary",
                      ":all:", "--retries", "2", "--target", (work / "wheel").string(), package},
                     work / "tmp", log, lock_fd);
  std::optional<int> status;
  while (!(status = process.poll())) {
    progress(largest_file(work));
    std::this_thread::sleep_for(kPollInterval);
  }
  require(*status == 0, ErrorCode::kIo, "pip could not fetch ", package, ": ",
          find_reason(log, *status));
  fs::path member = work / "wheel" / part.member;
  require(fs::is_regular_file(member), ErrorCode::kIo, "the package ", package, " holds no ",
          part.member);
  return member;
}

}  // namespace

fs::path fetch_pip_parts(const std::vector<PipPart>& parts, const fs::path& staging,
                         int64_t expected_bytes, int lock_fd, const FetchProgress& progress) {
  create_folder(staging);
  const fs::path state_path = staging / "state";
  const fs::path work = staging / "work";
  JoinState state = read_state(state_path);
  PartFile joined(staging / "joined", expected_bytes);
  if (state.parts > parts.size() || state.bytes > joined.size() || state.bytes < 0) {
    state = {};
  }
  joined.truncate(state.bytes);
  for (; state.parts < parts.size(); ++state.parts) {
    const auto report = [&](int64_t bytes) {
      if (progress) {
        progress(std::min(state.bytes + bytes, expected_bytes), expected_bytes);
      }
    };
    joined.append_file(fetch_part(parts[state.parts], work, lock_fd, report));
    state.bytes = joined.size();
    report(0);
    write_state(state_path, {state.parts + 1, state.bytes});
  }
  fs::remove_all(work);
  return joined.path();
}

}  // namespace lychee::io
