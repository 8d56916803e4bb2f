#include "support/child.h"

#include <sched.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): kill is POSIX
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <exception>
#include <fstream>
#include <stdexcept>

namespace holdfast::test {
namespace {

constexpr char kReady = 'r';
constexpr char kMessage = 'm';

bool write_all(int fd, const std::string& bytes) {
  return write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size());
}

bool write_file(const char* path, const std::string& text) {
  std::ofstream file(path);
  file << text << std::flush;
  return file.good();
}

// Empty, or why no private mounts can be made.
std::string enter_private_mounts() {
  const uid_t user = geteuid();
  const gid_t group = getegid();
  if (unshare(user == 0 ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) != 0) {
    return std::string("unshare: ") + std::strerror(errno);
  }
  if (user != 0) {
    write_file("/proc/self/setgroups", "deny");
    if (!write_file("/proc/self/uid_map", "0 " + std::to_string(user) + " 1") ||
        !write_file("/proc/self/gid_map", "0 " + std::to_string(group) + " 1")) {
      return "the user namespace cannot be mapped";
    }
  }
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return std::string("mount --make-rprivate: ") + std::strerror(errno);
  }
  return {};
}

}  // namespace

Child::Child(const std::function<std::string(Child&)>& body) {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) throw std::runtime_error("socketpair");
  pid_ = fork();
  if (pid_ < 0) throw std::runtime_error("fork");
  if (pid_ > 0) {
    close(ends[1]);
    to_child_ = ends[0];
    return;
  }
  close(ends[0]);
  to_parent_ = ends[1];
  std::string message;
  try {
    message = body(*this);
  } catch (const std::exception& error) {
    message = error.what();
  }
  if (!message.empty()) write_all(to_parent_, kMessage + message);
  _exit(message.empty() ? 0 : 1);
}

Child::~Child() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  if (to_child_ >= 0) close(to_child_);
}

void Child::ready_and_wait() {
  char answer = 0;
  if (!write_all(to_parent_, std::string(1, kReady)) || read(to_parent_, &answer, 1) != 1) _exit(2);
}

bool Child::wait_until_ready() {
  char word = 0;
  return recv(to_child_, &word, 1, MSG_PEEK) == 1 && word == kReady && read(to_child_, &word, 1) == 1;
}

void Child::go_on() {
  const char word = 'g';
  static_cast<void>(send(to_child_, &word, 1, MSG_NOSIGNAL));
}

ChildEnd Child::wait() {
  ChildEnd end;
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  // Not until the other end is closed: a grandchild may hold it. What was written is there.
  std::string text;
  std::array<char, 512> part{};
  for (ssize_t got = 0; (got = recv(to_child_, part.data(), part.size(), MSG_DONTWAIT)) > 0;) {
    text.append(part.data(), static_cast<std::size_t>(got));
  }
  if (const std::size_t at = text.find(kMessage); at != std::string::npos) end.message = text.substr(at + 1);
  end.exited = WIFEXITED(status);
  if (end.exited) end.status = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) end.signal = WTERMSIG(status);
  return end;
}

ChildEnd run_in_child(const std::function<std::string()>& body) {
  Child child([&body](Child&) { return body(); });
  return child.wait();
}

ChildEnd run_with_private_mounts(const std::function<std::string()>& body, std::string& unavailable) {
  static const std::string kUnavailable = "no private mounts: ";
  ChildEnd end = run_in_child([&body] {
    const std::string reason = enter_private_mounts();
    return reason.empty() ? body() : kUnavailable + reason;
  });
  unavailable = end.message.rfind(kUnavailable, 0) == 0 ? end.message : std::string();
  return end;
}

}  // namespace holdfast::test
