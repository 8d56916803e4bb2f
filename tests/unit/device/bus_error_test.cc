// Goal: only a SIGBUS of device::copy() or device::zero() at a registered address is taken; every other one ends where
// it would have ended without us. Method: programs started anew (the handler is installed once per process, so what was
// there before must be set first) that raise SIGBUS in each of the foreign ways; threads that register while others
// fault.
#include "device/bus_error.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): sigaction is POSIX
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csetjmp>
#include <memory>
#include <thread>
#include <vector>

#include "base/units.h"
#include "device/copy.h"

namespace holdfast::device {
namespace {

// A page past the end of its file: every touch is a bus error.
std::byte* page_past_end() {
  void* page = mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, memfd_create("empty", 0), 0);
  return page == MAP_FAILED ? nullptr : static_cast<std::byte*>(page);
}

// What an earlier handler of the program does: checks that the fault is told as the kernel tells it, and ends.
std::byte* expected_address = nullptr;
constexpr int kRightly = 42;
constexpr int kWrongly = 43;

void earlier_handler(int /*signal*/, siginfo_t* info, void* context) {
  sigset_t blocked;
  pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
  const bool right = info->si_addr == expected_address && info->si_code == BUS_ADRERR && context != nullptr &&
                     sigismember(&blocked, SIGBUS) == 1 && sigismember(&blocked, SIGUSR1) == 1 &&
                     sigismember(&blocked, SIGUSR2) == 0;
  _exit(right ? kRightly : kWrongly);
}

void set_earlier_handler() {
  struct sigaction action {};
  action.sa_sigaction = earlier_handler;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  sigaddset(&action.sa_mask, SIGUSR1);
  sigaction(SIGBUS, &action, nullptr);
}

class BusErrorDeathTest : public testing::Test {
 protected:
  // "threadsafe": each death starts the program anew, and nothing has been installed there yet.
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(BusErrorDeathTest, ALoadElsewhereReachesTheEarlierHandler) {
  EXPECT_EXIT(
      {
        set_earlier_handler();
        expected_address = page_past_end();
        const std::unique_ptr<std::byte[]> ours(new std::byte[kPageBytes]);
        const BusErrorRange range(ours.get(), kPageBytes);
        static_cast<void>(*static_cast<volatile std::byte*>(expected_address));
      },
      testing::ExitedWithCode(kRightly), "");
}

TEST_F(BusErrorDeathTest, ALoadOfOurMemoryOutsideCopyReachesTheEarlierHandler) {
  EXPECT_EXIT(
      {
        set_earlier_handler();
        expected_address = page_past_end();
        const BusErrorRange range(expected_address, kPageBytes);
        static_cast<void>(*static_cast<volatile std::byte*>(expected_address));
      },
      testing::ExitedWithCode(kRightly), "");
}

TEST_F(BusErrorDeathTest, CopyFromTheCallersBadMemoryReachesTheEarlierHandler) {
  EXPECT_EXIT(
      {
        set_earlier_handler();
        expected_address = page_past_end();
        const std::unique_ptr<std::byte[]> ours(new std::byte[kPageBytes]);
        const BusErrorRange range(ours.get(), kPageBytes);
        _exit(device::copy(ours.get(), expected_address, 1) == CopyOutcome::done ? 1 : 2);
      },
      testing::ExitedWithCode(kRightly), "");
}

TEST_F(BusErrorDeathTest, ARangeThatIsGoneIsNoLongerOurs) {
  EXPECT_EXIT(
      {
        set_earlier_handler();
        expected_address = page_past_end();
        { const BusErrorRange range(expected_address, kPageBytes); }
        _exit(device::zero(expected_address, 1) == CopyOutcome::done ? 1 : 2);
      },
      testing::ExitedWithCode(kRightly), "");
}

// What somebody above serves is touched again, with errno as it was; what nobody serves goes on its way.
TEST_F(BusErrorDeathTest, AServedTouchIsMadeAgain) {
  EXPECT_EXIT(
      {
        set_earlier_handler();
        expected_address = page_past_end() + 123;
        serve_bus_errors([](std::byte* address, bool write) {
          errno = EIO;
          std::byte* const page = address - 123;
          if (address != expected_address || !write) return false;
          return mmap(page, kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page;
        });
        errno = EDOM;
        *const_cast<volatile std::byte*>(expected_address) = std::byte{7};
        if (errno != EDOM || *expected_address != std::byte{7}) _exit(1);
        expected_address = page_past_end();
        static_cast<void>(*static_cast<volatile std::byte*>(expected_address));
      },
      testing::ExitedWithCode(kRightly), "");
}

TEST_F(BusErrorDeathTest, WithoutAnEarlierHandlerABusErrorEndsTheProcess) {
  EXPECT_EXIT(
      {
        signal(SIGBUS, SIG_DFL);  // a sanitizer may have set its own
        std::byte* page = page_past_end();
        const BusErrorRange range(page, kPageBytes);
        static_cast<void>(*static_cast<volatile std::byte*>(page));
        _exit(1);
      },
      testing::KilledBySignal(SIGBUS), "");
}

TEST_F(BusErrorDeathTest, ABusErrorCannotBeIgnored) {
  EXPECT_EXIT(
      {
        signal(SIGBUS, SIG_IGN);
        std::byte* page = page_past_end();
        const BusErrorRange range(page, kPageBytes);
        raise(SIGBUS);  // one that was sent can be
        static_cast<void>(*static_cast<volatile std::byte*>(page));
        _exit(1);
      },
      testing::KilledBySignal(SIGBUS), "");
}

TEST_F(BusErrorDeathTest, ASentSignalKeepsItsDefaultAction) {
  EXPECT_EXIT(
      {
        signal(SIGBUS, SIG_DFL);
        const std::unique_ptr<std::byte[]> ours(new std::byte[kPageBytes]);
        const BusErrorRange range(ours.get(), kPageBytes);
        raise(SIGBUS);
        _exit(1);
      },
      testing::KilledBySignal(SIGBUS), "");
}

sigjmp_buf recovery;

TEST_F(BusErrorDeathTest, AnEarlierHandlerMayJumpOutAndCopyWorksAfterwards) {
  EXPECT_EXIT(
      {
        signal(SIGBUS, [](int) { siglongjmp(recovery, 1); });
        std::byte* page = page_past_end();
        const BusErrorRange range(page, kPageBytes);
        static int round = 0;  // outlives the jump
        for (; round < 3; ++round) {
          if (sigsetjmp(recovery, 1) == 0) static_cast<void>(*static_cast<volatile std::byte*>(page));
          if (device::zero(page, kPageBytes) != CopyOutcome::bus_error) _exit(1);
        }
        _exit(kRightly);
      },
      testing::ExitedWithCode(kRightly), "");
}

TEST(BusError, RangesComeAndGoWhileOthersFault) {
  constexpr int kRounds = 2000;
  std::byte* const page = page_past_end();
  ASSERT_NE(page, nullptr);
  const BusErrorRange range(page, kPageBytes);
  std::atomic<bool> stop{false};
  std::thread registrar([&stop] {
    // More than one block of slots, of changing lengths, never over the page.
    static std::array<std::byte, 64> elsewhere;
    std::vector<std::unique_ptr<BusErrorRange>> ranges(100);
    for (std::size_t i = 0; !stop.load(std::memory_order_relaxed); ++i) {
      ranges[(i * 37) % ranges.size()] = std::make_unique<BusErrorRange>(&elsewhere[i % 32], 1 + i % 32);
    }
  });
  std::array<int, 2> unreported{};
  std::vector<std::thread> faulting;
  for (int& mine : unreported) {
    faulting.emplace_back([&mine, page] {
      std::array<std::byte, 64> target{};
      for (int round = 0; round < kRounds; ++round) {
        if (device::copy(target.data(), page, target.size()) != CopyOutcome::bus_error) ++mine;
      }
    });
  }
  for (std::thread& thread : faulting) thread.join();
  stop.store(true, std::memory_order_relaxed);
  registrar.join();
  EXPECT_EQ(unreported[0], 0);
  EXPECT_EQ(unreported[1], 0);
  munmap(page, kPageBytes);
}

}  // namespace
}  // namespace holdfast::device
