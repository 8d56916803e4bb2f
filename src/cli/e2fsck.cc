#include "cli/e2fsck.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <sstream>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "cli/host_file.h"
#include "cli/path.h"

namespace holdfast::cli {
namespace {

constexpr int kErrorsLeft = 4;
constexpr int kOperationalError = 8;
// Of a badly damaged pool it says millions of lines. After these the verdict is known.
constexpr std::size_t kLinesMax = 1000;

// In PATH, and where administrators' programs are, which users' PATH leaves out.
std::optional<std::string> find_program() {
  const char* const path = std::getenv("PATH");
  std::istringstream folders(std::string(path == nullptr ? "" : path) + ":/usr/sbin:/sbin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string program = join(folder.empty() ? "." : folder, "e2fsck");
    if (access(program.c_str(), X_OK) == 0) return program;
  }
  return std::nullopt;
}

class Actions {
 public:
  Actions() { posix_spawn_file_actions_init(&actions_); }
  Actions(const Actions&) = delete;
  Actions& operator=(const Actions&) = delete;
  ~Actions() { posix_spawn_file_actions_destroy(&actions_); }
  posix_spawn_file_actions_t* get() { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_{};
};

// Lines that are not empty, to the end or to kLinesMax; false when there were more.
bool read_lines(int fd, std::vector<std::string>& lines) {
  std::array<char, 4096> piece{};
  std::string line;
  for (;;) {
    const ssize_t got = read(fd, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    for (const char c : std::string_view(piece.data(), static_cast<std::size_t>(got))) {
      if (c != '\n') {
        line += c;
        continue;
      }
      if (lines.size() == kLinesMax) return false;
      if (!line.empty()) lines.push_back(std::exchange(line, {}));
    }
  }
  if (!line.empty()) lines.push_back(line);
  return true;
}

}  // namespace

Result<std::optional<E2fsckVerdict>> ask_e2fsck(const std::string& pool) {
  const std::optional<std::string> program = find_program();
  if (!program) return std::optional<E2fsckVerdict>();
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return Error(errno, *program, "");
  const Descriptor out(ends[0]);
  Descriptor in(ends[1]);
  Actions actions;
  posix_spawn_file_actions_addopen(actions.get(), STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(actions.get(), in.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(actions.get(), in.get(), STDERR_FILENO);
  std::array<std::string, 4> words{"e2fsck", "-fn", "--", pool};
  const std::array<char*, 5> arguments{words[0].data(), words[1].data(), words[2].data(), words[3].data(), nullptr};
  std::string language = "LC_ALL=C";
  const std::array<char*, 2> environment{language.data(), nullptr};
  pid_t pid = 0;
  const int failed = posix_spawn(&pid, program->c_str(), actions.get(), nullptr, arguments.data(), environment.data());
  if (failed != 0) return Error(failed, *program, "");
  in = Descriptor();  // so that the other end ends with the child
  E2fsckVerdict verdict;
  const bool all = read_lines(out.get(), verdict.lines);
  if (!all) kill(pid, SIGKILL);  // it only reads: nothing is left half done
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return Error(errno, *program, "");
  }
  verdict.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : kOperationalError;
  if (!all) {
    verdict.exit_code = kErrorsLeft;
    verdict.lines.push_back(fmt::format("(it was ended after {} lines)", kLinesMax));
  } else if (WIFSIGNALED(status)) {
    verdict.lines.push_back(fmt::format("(it was ended by signal {})", WTERMSIG(status)));
  }
  return std::optional(std::move(verdict));
}

}  // namespace holdfast::cli
