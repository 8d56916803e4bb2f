// Goal: a program that closes or leaves descriptors of ours loses no store and shows no other file: what still can be
// served is, and what cannot ends the process with a message that names the descriptor.
// Method: children that open a pool of their own, close everything, and go on.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <holdfast/holdfast.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "support/child.h"
#include "support/pool_fixture.h"
#include "support/scratch.h"
#include "support/skip.h"
#include "support/window_bed.h"

namespace holdfast::test {
namespace {

constexpr std::uint64_t kBytes = 1 * MiB;
constexpr std::uint64_t kFar = 512 * KiB;  // is not brought by map

// A pool with a window, in a process of its own. Its standard error goes to a file: how it ended is said there.
class Descriptors : public ::testing::TestWithParam<ServeFaults> {
 protected:
  struct Bed {
    Filesystem& fs;
    File& file;
    Window& window;
  };
  ChildEnd run(const std::function<std::string(Bed)>& body) {
    const std::string said = scratch_.file("said");
    const ChildEnd end = run_in_child([&]() -> std::string {
      const int fd = open(said.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      dup2(fd, STDERR_FILENO);
      close(fd);
      return with_bed(body);
    });
    said_ = read_all(said);
    return end;
  }
  std::string with_bed(const std::function<std::string(Bed)>& body) const {
    unlink(scratch_.file("pool").c_str());
    Device device = Device::create(scratch_.file("pool"), 64 * MiB).value();
    format(device, {}).value();
    std::optional<Filesystem> fs(Filesystem::mount(std::move(device)).value());
    File file = fs->open("/a", Open::read_write | Open::create).value();
    write(file, 0, pattern(kBytes));
    Window window = file.map(0, 2 * kBytes, {.faults = GetParam()}).value();
    if (window.faults() == Faults::none) return "no faults";
    return body({*fs, file, window});
  }
  static std::string read_all(const std::string& path) {
    std::string text(4096, '\0');
    const int fd = open(path.c_str(), O_RDONLY);
    const ssize_t got = read(fd, text.data(), text.size());
    close(fd);
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return text;
  }
  const std::string& said() const { return said_; }

 private:
  ScratchDirectory scratch_{tmpfs_parent()};
  std::string said_;
};

#define SKIP_WITHOUT(end) \
  if ((end).message == "no faults") HF_SKIP_CAPABILITY("userfaultfd", "windows take no faults")

// The kernel must not fill the page by itself: the store would be lost without a word.
TEST_P(Descriptors, ClosedUnderAWindowEndTheProcessAndNotTheStore) {
  const ChildEnd end = run([](const Bed& bed) -> std::string {
    bed.file.punch(kFar, 64 * KiB).value();
    close_range(3, ~0U, 0);
    // A page with a block: the reader serves it by a descriptor of its own.
    bed.window.data()[256 * KiB] = std::byte{'s'};
    if (contents(bed.file, 256 * KiB, 1) != "s") return "a store is lost";
    bed.window.data()[kFar] = std::byte{'s'};  // a hole: the window has to change
    return "the window changed without a descriptor";
  });
  SKIP_WITHOUT(end);
  EXPECT_EQ(end.signal, SIGABRT) << end.message;
  EXPECT_NE(said().find("the program closed descriptor"), std::string::npos) << said();
}

// The numbers are another file's now: it must not be mapped, allocated or punched.
TEST_P(Descriptors, ReusedNumbersTouchNoOtherFile) {
  ScratchDirectory other(tmpfs_parent());
  const std::string path = other.file("other");
  const ChildEnd end = run([&path](const Bed& bed) -> std::string {
    close_range(3, ~0U, 0);
    const int first = open(path.c_str(), O_RDWR | O_CREAT, 0600);
    const std::string bytes(64 * KiB, 'o');
    if (pwrite(first, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) return "pwrite";
    for (int fd = first + 1; fd < 32; ++fd) dup2(first, fd);
    bed.file.punch(kFar, 64 * KiB).value();
    write(bed.file, kFar, "filled");
    return text(bed.window, kFar, 6) == "filled" ? "the window changed without a descriptor" : "wrong bytes";
  });
  SKIP_WITHOUT(end);
  EXPECT_EQ(end.signal, SIGABRT) << end.message;
  EXPECT_NE(said().find("the program closed descriptor"), std::string::npos) << said();
  EXPECT_EQ(read_all(path).substr(0, 4096), std::string(4096, 'o'));
}

// A spawned child closes everything that it inherited, as careful programs do. It shares no table with us.
TEST_P(Descriptors, ASpawnedChildThatClosesThemAllDisturbsNothing) {
  const ChildEnd end = run([](const Bed& bed) -> std::string {
    const pid_t child = vfork();
    if (child == 0) {
      close_range(3, ~0U, 0);
      execl("/bin/true", "true", nullptr);
      _exit(1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (status != 0) return "the child failed";
    bed.window.data()[kFar] = std::byte{'s'};
    bed.file.punch(kFar + 64 * KiB, 4 * KiB).value();
    bed.window.data()[kFar + 64 * KiB] = std::byte{'t'};
    if (contents(bed.file, kFar, 1) != "s" || contents(bed.file, kFar + 64 * KiB, 1) != "t") return "a store is lost";
    return {};
  });
  SKIP_WITHOUT(end);
  EXPECT_EQ(end.message, "") << said();
  EXPECT_TRUE(end.exited);
}

// What runs behind exec has none of it: the pool can be opened at once.
TEST_P(Descriptors, ExecLeavesThePoolToOthers) {
  const ChildEnd end = run([](const Bed& bed) -> std::string {
    bed.window.data()[kFar] = std::byte{'s'};
    bed.fs.sync().value();
    execl("/bin/sh", "sh", "-c", "for f in /proc/self/fd/*; do readlink $f; done | grep -c -e pool -e userfaultfd >&2",
          nullptr);
    return "exec failed";
  });
  SKIP_WITHOUT(end);
  EXPECT_TRUE(end.exited) << end.message;
  EXPECT_EQ(said(), "0\n");
}

// The readers of touches keep nothing of the program's open: what it closes ends for those at the other side.
TEST_P(Descriptors, WhatTheProgramClosesEnds) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  Child child([&ends, this](Child& self) -> std::string {
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    const std::string problem = with_bed([&self](const Bed& bed) -> std::string {
      const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
      dup2(null, STDOUT_FILENO);
      self.ready_and_wait();
      bed.window.data()[kFar] = std::byte{'s'};
      return contents(bed.file, kFar, 1) == "s" ? "" : "a store is lost";
    });
    if (problem == "no faults") {
      close(STDOUT_FILENO);
      self.ready_and_wait();
    }
    return problem;
  });
  close(ends[1]);
  const bool ready = child.wait_until_ready();
  pollfd reader{ends[0], POLLIN, 0};
  EXPECT_EQ(poll(&reader, 1, 10000), 1) << "the pipe's other end is still open";
  EXPECT_EQ(reader.revents & (POLLIN | POLLHUP), POLLHUP);
  if (ready) child.go_on();
  const ChildEnd end = child.wait();
  close(ends[0]);
  SKIP_WITHOUT(end);
  EXPECT_EQ(end.message, "");
}

// At the limit of descriptors a window is made or refused; one that was made does all that windows do without another.
TEST_P(Descriptors, TheLimitOfThemIsMetBeforeThereIsAWindow) {
  const ChildEnd end = run_in_child([]() -> std::string {
    Device device = Device::memory({.size = 64 * MiB}).value();
    format(device, {}).value();
    Filesystem fs = Filesystem::mount(std::move(device)).value();
    File file = fs.open("/a", Open::read_write | Open::create).value();
    write(file, 0, pattern(kBytes));
    const int next = dup(STDERR_FILENO);
    close(next);
    for (rlim_t more = 0; more < 8; ++more) {
      const rlimit limit{static_cast<rlim_t>(next) + more, 1024};
      if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return "setrlimit";
      const Result<Window> window = file.map(0, kBytes, {.faults = GetParam()});
      if (!window && window.error().code() != EMFILE) return window.error().message();
      if (!window) continue;
      if (window->faults() == Faults::none) return "no faults";
      const rlimit none{0, 1024};
      if (setrlimit(RLIMIT_NOFILE, &none) != 0) return "setrlimit";
      file.truncate(kFar).value();
      if (!dies_of_bus_error(window->data() + kFar)) return "the end is not where it is";
      return {};
    }
    return "there never was a window";
  });
  SKIP_WITHOUT(end);
  EXPECT_EQ(end.message, "");
  EXPECT_TRUE(end.exited) << "signal " << end.signal;
}

enum class Ending { exit_main, exit_thread, quick, abort };

class Endings : public Descriptors {};

// A process may end with windows open, from any thread; objects that live on in statics end after main.
TEST_P(Endings, WithWindowsOpen) {
  for (const Ending ending : {Ending::exit_main, Ending::exit_thread, Ending::quick, Ending::abort}) {
#if defined(__SANITIZE_ADDRESS__)
    // The leak check at exit() takes for leaks what the threads had that did not come along with the fork.
    if (ending == Ending::exit_main || ending == Ending::exit_thread) continue;
#endif
    const ChildEnd end = run([ending](const Bed& bed) -> std::string {
      static std::optional<Window> kept;
      static std::optional<File> file;
      file.emplace(std::move(bed.file));
      kept.emplace(std::move(bed.window));
      kept->data()[kFar] = std::byte{'s'};
      alarm(30);
      switch (ending) {
        case Ending::exit_main:
          std::exit(0);
        case Ending::exit_thread:
          std::thread([] { std::exit(0); }).join();
          break;
        case Ending::quick:
          std::quick_exit(0);
        case Ending::abort:
          std::abort();
      }
      return "it went on";
    });
    SKIP_WITHOUT(end);
    const int which = static_cast<int>(ending);
    if (ending == Ending::abort) {
      EXPECT_EQ(end.signal, SIGABRT) << which << end.message;
    } else {
      EXPECT_TRUE(end.exited) << which << " signal " << end.signal << end.message << said();
      EXPECT_EQ(end.status, 0) << which << end.message << said();
    }
  }
}

const auto kBoth = ::testing::Values(ServeFaults::thread, ServeFaults::in_thread);
const auto kName = [](const auto& parameter) {
  return parameter.param == ServeFaults::thread ? "thread" : "in_thread";
};
INSTANTIATE_TEST_SUITE_P(Served, Descriptors, kBoth, kName);
INSTANTIATE_TEST_SUITE_P(Served, Endings, kBoth, kName);

}  // namespace
}  // namespace holdfast::test
