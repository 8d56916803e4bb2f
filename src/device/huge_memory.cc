#include "device/huge_memory.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstring>

#include "base/masked.h"
#include "device/sanitizer.h"

namespace holdfast::device {
namespace {

// What the child reads and answers. It shares this process's memory and descriptors, and runs while its parent's thread
// waits, as after vfork(2): it makes system calls and nothing else.
struct Request {
  bool as_root = false;          // no user namespace is needed
  std::array<char, 32> users{};  // lines for uid_map and gid_map
  std::array<char, 32> groups{};
  int file = -1;
};

__attribute__((no_sanitize("address"))) bool put(const char* path, const char* text) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const auto length = static_cast<ssize_t>(std::strlen(text));
  const bool done = write(fd, text, static_cast<std::size_t>(length)) == length;
  close(fd);
  return done;
}

// It runs on a stack that AddressSanitizer does not know.
__attribute__((no_sanitize("address"))) int make_in_child(void* argument) {
  auto& request = *static_cast<Request*>(argument);
  if (!request.as_root && (!put("/proc/self/setgroups", "deny") || !put("/proc/self/uid_map", request.users.data()) ||
                           !put("/proc/self/gid_map", request.groups.data()))) {
    _exit(1);
  }
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) _exit(1);
  for (const char* place : {"/tmp", "/dev/shm", "/mnt", "/proc"}) {
    if (mount("holdfast", place, "tmpfs", 0, "huge=within_size,size=100%") != 0) continue;
    request.file = open(place, O_TMPFILE | O_RDWR | O_CLOEXEC, S_IRUSR | S_IWUSR);
    break;
  }
  _exit(0);
}

// A file made by a child in namespaces of its own; nothing where one of its steps is refused.
FileDescriptor make(bool as_root) {
  Request request;
  request.as_root = as_root;
  std::snprintf(request.users.data(), request.users.size(), "%u %u 1", geteuid(), geteuid());
  std::snprintf(request.groups.data(), request.groups.size(), "%u %u 1", getegid(), getegid());

  constexpr std::size_t kStackBytes = std::size_t{64} << 10;
  void* const stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (stack == MAP_FAILED) return {};
  // No handler of the program may run in the child: it would see its parent's memory and another pid.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  // No exit signal: the program's own handling of children does not see this one, and only __WALL waits for it.
  const int namespaces = CLONE_NEWNS | (as_root ? 0 : CLONE_NEWUSER);
  const pid_t child = clone(make_in_child, static_cast<std::byte*>(stack) + kStackBytes,
                            CLONE_VM | CLONE_VFORK | CLONE_FILES | namespaces, &request);
  if (child > 0) {
    while (waitpid(child, nullptr, __WALL) < 0 && errno == EINTR) {
    }
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  munmap(stack, kStackBytes);
  return FileDescriptor(request.file);
}

}  // namespace

FileDescriptor open_huge_memory() {
#if defined(HF_THREAD_SANITIZER)
  // It takes the child, which shares this process's memory, for a fork of it, and trusts no lock from then on.
  return {};
#endif
  if (masked("huge-tmpfs")) return {};
  // Root may lack the privilege to mount (a container's often does): then it goes the way of everybody else.
  if (geteuid() == 0) {
    if (FileDescriptor file = make(true)) return file;
  }
  return make(false);
}

}  // namespace holdfast::device
