// Goal: a window that is served in the touching thread wakes nobody for a page that has a block, and disturbs neither
// the thread that touches nor what it shares with others: errno, signals, small signal stacks, other bus errors.
// Method: marks say who served what; children end as the process would.
#include <gtest/gtest.h>
#include <holdfast/holdfast.h>
#include <pthread.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): sigaltstack is POSIX
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mark.h"
#include "support/child.h"
#include "support/mark_stop.h"
#include "support/pool_fixture.h"
#include "support/skip.h"
#include "support/task.h"
#include "support/window_bed.h"

namespace holdfast::test {
namespace {

char load(const Window& window, std::uint64_t offset) {
  return std::to_integer<char>(*const_cast<const volatile std::byte*>(window.data() + offset));
}

class InThread : public WindowBed {
 protected:
  static constexpr std::uint64_t kBytes = 1 * MiB;
  static constexpr std::uint64_t kFar = 512 * KiB;  // is not brought by map

  void SetUp() override {
    open_pool(Carriage::memory);
    serve_faults(ServeFaults::in_thread);
    file_.emplace(make_file("/a", pattern(kBytes)));
    window_.emplace(map(*file_, 0, 2 * kBytes).value());
    if (window_->faults() == Faults::none) HF_SKIP_CAPABILITY("userfaultfd", "windows take no faults");
    ASSERT_EQ(window_->faults(), Faults::in_thread);
  }
  void TearDown() override {
    window_.reset();
    file_.reset();
  }
  File& file() { return *file_; }
  Window& window() { return *window_; }

 private:
  std::optional<File> file_;
  std::optional<Window> window_;
};

TEST_F(InThread, APageWithABlockWakesNobody) {
  MarkCount here("window.in_thread");
  MarkCount helped("window.serve");
  EXPECT_EQ(load(window(), kFar), pattern(kBytes)[kFar]);
  EXPECT_EQ(here.passings(), 1U);
  window().data()[kFar + 256 * KiB] = std::byte{'s'};
  EXPECT_EQ(here.passings(), 2U);
  EXPECT_EQ(helped.passings(), 0U);
  file().punch(0, 4 * KiB).value();  // takes the translations around
  EXPECT_EQ(load(window(), 4 * KiB), pattern(kBytes)[4 * KiB]);
  EXPECT_EQ(helped.passings(), 0U);
}

TEST_F(InThread, AHoleIsLeftToTheHelper) {
  file().punch(kFar, 64 * KiB).value();
  MarkCount helped("window.serve");
  EXPECT_EQ(load(window(), kFar), '\0');
  window().data()[kFar] = std::byte{'s'};
  EXPECT_EQ(helped.passings(), 2U);
  EXPECT_EQ(contents(file(), kFar, 2), std::string("s\0", 2));
}

// Both kinds of windows show one file.
TEST_F(InThread, AWindowOfTheOtherKindAgrees) {
  const Window other = file().map(0, kBytes).value();
  EXPECT_NE(other.faults(), Faults::in_thread);
  window().data()[kFar] = std::byte{'s'};
  EXPECT_EQ(load(other, kFar), 's');
  file().punch(kFar, 4 * KiB).value();
  EXPECT_EQ(load(window(), kFar), '\0');
  other.data()[kFar] = std::byte{'t'};
  EXPECT_EQ(load(window(), kFar), 't');
}

TEST_F(InThread, SystemCallsOnAbsentPagesFailUntilTheyAreTouched) {
  EXPECT_EQ(system_call_reads(window().data() + kFar), EFAULT);
  static_cast<void>(load(window(), kFar));
  EXPECT_EQ(system_call_reads(window().data() + kFar), 0);
  window().populate(0, kBytes).value();
  EXPECT_EQ(system_call_reads(window().data() + kBytes - 1), 0);
}

TEST_F(InThread, ErrnoIsKept) {
  file().punch(0, 64 * KiB).value();
  for (const std::uint64_t offset : {kFar, std::uint64_t{0}}) {
    errno = EDOM;
    window().data()[offset] = std::byte{'s'};
    EXPECT_EQ(errno, EDOM);
  }
}

TEST_F(InThread, ABusErrorThatIsNoneOfOursKeepsItsAddress) {
  EXPECT_TRUE(dies_of_bus_error(window().data() + kBytes + 12345));
  EXPECT_EQ(bus_error_address(), window().data() + kBytes + 12345);
  EXPECT_TRUE(store_dies_of_bus_error(window().data() + 2 * kBytes - 1));
  EXPECT_EQ(bus_error_address(), window().data() + 2 * kBytes - 1);
  // And what is ours is served afterwards as before.
  EXPECT_EQ(load(window(), kFar), pattern(kBytes)[kFar]);
}

TEST_F(InThread, AThreadThatBlocksEveryOtherSignalIsServed) {
  file().punch(kFar, 64 * KiB).value();
  Task toucher([&] {
    sigset_t all;
    sigfillset(&all);
    sigdelset(&all, SIGBUS);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    window().data()[kFar] = std::byte{'s'};
    return load(window(), 256 * KiB);
  });
  EXPECT_EQ(toucher.get(), pattern(kBytes)[256 * KiB]);
  EXPECT_EQ(contents(file(), kFar, 1), "s");
}

#if !defined(__SANITIZE_THREAD__)  // which keeps signals back by itself
// A handler of the program must not run on top of ours: it may touch the same window. What instructions raise is not
// held back: it would end the process.
TEST_F(InThread, SignalsOfTheProgramWaitWhileATouchIsServed) {
  struct Masks {
    sigset_t inside{};
    bool seen = false;
  } masks;
  mark::set_handler(
      [](void* context, const char* name) {
        if (std::string_view(name) != "window.in_thread") return;
        pthread_sigmask(SIG_SETMASK, nullptr, &static_cast<Masks*>(context)->inside);
        static_cast<Masks*>(context)->seen = true;
      },
      &masks);
  static_cast<void>(load(window(), kFar));
  mark::set_handler(nullptr, nullptr);
  ASSERT_TRUE(masks.seen);
  for (const int sent : {SIGUSR1, SIGALRM, SIGINT, SIGRTMIN}) EXPECT_EQ(sigismember(&masks.inside, sent), 1) << sent;
  for (const int raised : {SIGBUS, SIGSEGV, SIGFPE}) EXPECT_EQ(sigismember(&masks.inside, raised), 0) << raised;
  sigset_t after;
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  EXPECT_EQ(sigismember(&after, SIGUSR1), 0);
}
#endif

// What the program gave for its own handlers is enough, whatever has to be done to serve the touch.
TEST_F(InThread, ASmallSignalStackIsEnough) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  HF_SKIP_CAPABILITY("plain-build", "a sanitizer's frames are larger");
#endif
  file().punch(kFar, 64 * KiB).value();
  file().punch(768 * KiB, 64 * KiB).value();
  Task toucher([&] {
    const auto size = static_cast<std::size_t>(sysconf(_SC_SIGSTKSZ));
    std::vector<unsigned char> memory(size, 0xA5);
    stack_t stack{};
    stack.ss_sp = memory.data();
    stack.ss_size = size;
    if (sigaltstack(&stack, nullptr) != 0) return std::size_t{0};
    static_cast<void>(load(window(), 256 * KiB));  // a page that has a block
    static_cast<void>(load(window(), kFar));       // zeros
    window().data()[kFar] = std::byte{'s'};        // a block for zeros
    window().data()[768 * KiB] = std::byte{'s'};   // a block for nothing
    stack.ss_flags = SS_DISABLE;
    sigaltstack(&stack, nullptr);
    return static_cast<std::size_t>(
        std::find_if(memory.begin(), memory.end(), [](unsigned char byte) { return byte != 0xA5; }) - memory.begin());
  });
  const std::size_t untouched = toucher.get();
  EXPECT_GE(untouched, 4096U) << "of " << sysconf(_SC_SIGSTKSZ);
}

// Faults of many threads in one file at once, against breaks of it.
TEST_F(InThread, ManyTouchAtOnce) {
  std::atomic<bool> stop{false};
  std::array<std::optional<Task<int>>, 3> touchers;
  for (unsigned which = 0; which < touchers.size(); ++which) {
    touchers.at(which).emplace([&, which] {
      for (std::uint64_t i = 0; !stop.load(); ++i) {
        const std::uint64_t page = (i * 7 + which) % (kBytes / (4 * KiB));
        window().data()[page * 4 * KiB + which] = std::byte{'t'};
      }
      return 0;
    });
  }
  for (int round = 0; round < 200; ++round) {
    file().punch(static_cast<std::uint64_t>(round) % 256 * 4 * KiB, 4 * KiB).value();
  }
  stop.store(true);
  for (auto& toucher : touchers) EXPECT_EQ(toucher->get(), 0);
}

#if !defined(__SANITIZE_THREAD__)  // which keeps signals back by itself
TEST_F(InThread, AThreadThatBlocksBusErrorsEndsTheProcess) {
  const ChildEnd end = run_in_child([]() -> std::string {
    Device device = Device::memory({.size = 64 * MiB}).value();
    format(device, {}).value();
    Filesystem fs = Filesystem::mount(std::move(device)).value();
    File made = fs.open("/a", Open::read_write | Open::create).value();
    write(made, 0, pattern(kBytes));
    const Window mapped = made.map(0, kBytes, {.faults = ServeFaults::in_thread}).value();
    if (load(mapped, kFar) != pattern(kBytes)[kFar]) return "a child's own windows show nothing";
    sigset_t bus;
    sigemptyset(&bus);
    sigaddset(&bus, SIGBUS);
    pthread_sigmask(SIG_BLOCK, &bus, nullptr);
    static_cast<void>(load(mapped, 256 * KiB));
    return "the touch was served";
  });
  EXPECT_EQ(end.signal, SIGBUS) << end.message;
}
#endif

class InThreadOnADisk : public WindowBed {};

// What userfaultfd cannot watch is served by the library's thread, and the window says so.
TEST_F(InThreadOnADisk, IsServedByAThread) {
  constexpr std::uint64_t kBytes = 256 * KiB;
  open_pool(Carriage::disk_file);
  serve_faults(ServeFaults::in_thread);
  File file = make_file("/a", pattern(kBytes));
  const Window window = map(file, 0, kBytes).value();
  EXPECT_NE(window.faults(), Faults::in_thread);
  EXPECT_EQ(load(window, 128 * KiB), pattern(kBytes)[128 * KiB]);
}

}  // namespace
}  // namespace holdfast::test
