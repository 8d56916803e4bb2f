// Goal: the races between faults, changes of the file, breaks and the end of a window are decided as file_windows.h and
// view.h say, whoever comes first.
// Method: marks stop one side in the middle of what it does, and the other side runs.
#include <gtest/gtest.h>
#include <holdfast/holdfast.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <thread>

#include "support/mark_stop.h"
#include "support/pool_fixture.h"
#include "support/skip.h"
#include "support/task.h"
#include "support/window_bed.h"

namespace holdfast::test {
namespace {

using std::chrono::milliseconds;

#define SKIP_WITHOUT_FAULTS(window) \
  if ((window).faults() == Faults::none) HF_SKIP_CAPABILITY("userfaultfd", "windows take no faults")

class WindowRace : public WindowBed, public ::testing::WithParamInterface<ServeFaults> {
 protected:
  void SetUp() override {
    serve_faults(GetParam());
    open_pool(carriage());
    file_.emplace(make_file("/a", pattern(kBytes)));
  }
  void TearDown() override { file_.reset(); }
  virtual Carriage carriage() const { return Carriage::memory; }
  File& file() { return *file_; }
  Window map() { return WindowBed::map(*file_, 0, kBytes).value(); }
  using WindowBed::map;
  static char load(const Window& window, std::uint64_t offset) {
    return std::to_integer<char>(*const_cast<const volatile std::byte*>(window.data() + offset));
  }
  void hole_read_meets_fill() {
    file().punch(kFar, 64 * KiB).value();
    const Window window = map();
    SKIP_WITHOUT_FAULTS(window);
    MarkStop stop("window.serve_hole");
    Task reader([&] { return load(window, kFar); });
    ASSERT_TRUE(stop.wait_until_stopped());
    write(file(), kFar, "filled");
    stop.go_on();
    EXPECT_EQ(reader.get(), 'f');
    EXPECT_EQ(text(window, kFar, 6), "filled");
  }

  static constexpr std::uint64_t kBytes = 256 * KiB;
  static constexpr std::uint64_t kFar = 128 * KiB;  // is not brought by map

 private:
  std::optional<File> file_;
};

class DiskWindowRace : public WindowRace {
 protected:
  Carriage carriage() const override { return Carriage::disk_file; }
};

// The helper saw a hole; before it shows zeros, a write fills the hole and refreshes. Zeros must not hide the block.
TEST_P(WindowRace, HoleReadMeetsFill) { hole_read_meets_fill(); }

// The same where the window shows device memory only when it is tracked: what was filled is absent there, not shared.
TEST_P(DiskWindowRace, HoleReadMeetsFill) { hole_read_meets_fill(); }

// The other arm: zeros are shown first, the write replaces them.
TEST_P(WindowRace, FillMeetsZeros) {
  file().punch(kFar, 64 * KiB).value();
  const Window window = map();
  EXPECT_EQ(load(window, kFar), '\0');
  write(file(), kFar, "filled");
  EXPECT_EQ(text(window, kFar, 6), "filled");
}

// A fault is inside its hold when a punch wants the page: the punch waits for the hold, and then takes the translation.
TEST_P(WindowRace, FaultMeetsBreak) {
  const Window window = map();
  SKIP_WITHOUT_FAULTS(window);
  MarkStop stop("window.install");
  Task reader([&] { return load(window, kFar); });
  ASSERT_TRUE(stop.wait_until_stopped());
  Task punch([&] { return code_of(file().punch(kFar, 4 * KiB)); });
  stop.go_on();
  const char seen = reader.get();
  EXPECT_TRUE(seen == pattern(kBytes)[kFar] || seen == '\0');
  EXPECT_EQ(punch.get(), 0);
  EXPECT_EQ(load(window, kFar), '\0');
  EXPECT_EQ(contents(file(), kFar, 1), std::string(1, '\0'));
}

// The punch has taken the translations away and holds the gate: a touch waits for it and then finds the hole.
TEST_P(WindowRace, BreakMeetsFault) {
  const Window window = map();
  SKIP_WITHOUT_FAULTS(window);
  EXPECT_EQ(load(window, kFar), pattern(kBytes)[kFar]);
  MarkStop stop("removal.blocks_are_out");
  Task punch([&] { return code_of(file().punch(kFar, 4 * KiB)); });
  ASSERT_TRUE(stop.wait_until_stopped());
  Task store([&] {
    window.data()[kFar + 1] = std::byte{'s'};
    return 0;
  });
  // What stays of the file is shown meanwhile.
  EXPECT_EQ(load(window, 0), pattern(kBytes)[0]);
  stop.go_on();
  EXPECT_EQ(punch.get(), 0);
  EXPECT_EQ(store.get(), 0);
  EXPECT_EQ(contents(file(), kFar, 3), std::string("\0s\0", 3));
}

// During the wait for a pin everything goes on: loads, stores and faults, also of the holder.
TEST_P(WindowRace, WaitingForAPinStopsNoTouch) {
  const Window window = map();
  SKIP_WITHOUT_FAULTS(window);
  std::optional<Pin> pin = file().pin(kFar, 4 * KiB, {.access = Access::write}).value();
  MarkCount waits("layout.break.sleeps");
  Task punch([&] { return code_of(file().punch(kFar, 64 * KiB)); });
  ASSERT_TRUE(waits.wait_until(1));
  for (std::uint64_t at = kFar; at < kFar + 64 * KiB; at += 4 * KiB) {
    EXPECT_EQ(load(window, at), pattern(kBytes)[at]);
    window.data()[at] = std::byte{'w'};
  }
  EXPECT_FALSE(punch.done());
  pin->release();
  EXPECT_EQ(punch.get(), 0);
  EXPECT_EQ(load(window, kFar), '\0');
}

// A storm of faults in the range does not keep a waiting break from ending once the pin goes.
TEST_P(WindowRace, AStormOfFaultsDoesNotProlongABreak) {
  const Window window = map();
  SKIP_WITHOUT_FAULTS(window);
  std::atomic<bool> stop{false};
  Task storm([&] {
    int sum = 0;
    while (!stop.load()) sum += load(window, kFar + static_cast<std::uint64_t>(sum % 16) * 4 * KiB) != 0 ? 1 : 3;
    return sum;
  });
  for (int round = 0; round < 50; ++round) {
    write(file(), kFar, pattern(64 * KiB));
    EXPECT_EQ(code_of(file().punch(kFar, 64 * KiB, {.deadline = milliseconds(5000)})), 0);
  }
  stop.store(true);
  storm.get();
}

// A detach takes a held page out of the file; the window shows what the file is, the holder keeps what it had.
TEST_P(WindowRace, ADetachedPageLeavesTheWindow) {
  const Window window = map();
  std::memcpy(window.data() + kFar, "held", 4);
  const Pin pin = file().pin(kFar, 4 * KiB, {.access = Access::write}).value();
  file().punch(kFar, 4 * KiB, {.on_pinned = OnPinned::detach}).value();
  EXPECT_EQ(load(window, kFar), '\0');
  EXPECT_EQ(std::memcmp(pin.segments()[0].address, "held", 4), 0);
  if (window.faults() == Faults::none) return;
  window.data()[kFar] = std::byte{'n'};
  EXPECT_EQ(std::memcmp(pin.segments()[0].address, "held", 4), 0);
  EXPECT_EQ(contents(file(), kFar, 1), "n");
}

// The edge of a detach lies in a held page: the file gets a copy, and the window shows the copy.
TEST_P(WindowRace, AHeldEdgeIsReplacedInTheWindow) {
  const Window window = map();
  std::memcpy(window.data() + kFar, "stays, goes", 11);
  const Pin pin = file().pin(kFar, 4 * KiB, {.access = Access::write}).value();
  file().truncate(kFar + 6, {.on_pinned = OnPinned::detach}).value();
  EXPECT_EQ(text(window, kFar, 11), std::string("stays,\0\0\0\0\0", 11));
  EXPECT_EQ(std::memcmp(pin.segments()[0].address, "stays, goes", 11), 0);
  window.data()[kFar] = std::byte{'S'};
  EXPECT_EQ(contents(file(), kFar, 6), "Stays,");
  EXPECT_EQ(std::memcmp(pin.segments()[0].address, "stays, goes", 11), 0);
}

// While the edge is being copied the window shows nothing of it: a store waits, and goes to the copy.
TEST_P(WindowRace, AStoreDuringADetachGoesToTheCopy) {
  const Window window = map();
  SKIP_WITHOUT_FAULTS(window);
  std::memcpy(window.data() + kFar, "stays, goes", 11);
  const Pin pin = file().pin(kFar, 4 * KiB, {.access = Access::write}).value();
  MarkStop stop("removal.blocks_are_out");
  MarkCount told("window.serve");
  Task detach([&] { return code_of(file().truncate(kFar + 6, {.on_pinned = OnPinned::detach})); });
  ASSERT_TRUE(stop.wait_until_stopped());
  Task store([&] {
    window.data()[kFar] = std::byte{'S'};
    return 0;
  });
  while (!store.done() && told.passings() == 0) std::this_thread::yield();
  stop.go_on();
  EXPECT_EQ(detach.get(), 0);
  EXPECT_EQ(store.get(), 0);
  EXPECT_EQ(contents(file(), kFar, 6), "Stays,");
  EXPECT_EQ(std::memcmp(pin.segments()[0].address, "stays, goes", 11), 0);
}

// A touch is in service when its window ends on another part: the end waits for the server.
class ViewLife : public ::testing::TestWithParam<ServeFaults> {};
TEST_P(ViewLife, ServersAndCloseSeeEachOther) {
  class Bed : public WindowBed {
   public:
    Bed() {
      serve_faults(GetParam());
      open_pool(Carriage::memory);
    }
    void TestBody() override {
      File file = make_file("/a", pattern(256 * KiB));
      std::optional<Window> window = map(file, 0, 256 * KiB).value();
      SKIP_WITHOUT_FAULTS(*window);
      MarkStop stop("window.install");
      const Window other = map(file, 0, 256 * KiB).value();
      Task reader([&] { return load_of(other.data() + 128 * KiB); });
      ASSERT_TRUE(stop.wait_until_stopped());
      Task closing([&] {
        window.reset();
        return 0;
      });
      stop.go_on();
      EXPECT_EQ(reader.get(), pattern(256 * KiB)[128 * KiB]);
      EXPECT_EQ(closing.get(), 0);
    }
    static char load_of(const std::byte* at) {
      return std::to_integer<char>(*const_cast<const volatile std::byte*>(at));
    }
  };
  Bed().TestBody();
}

// Windows come and go while others fault.
TEST_P(WindowRace, WindowsComeAndGoUnderFaults) {
  const Window steady = map();
  SKIP_WITHOUT_FAULTS(steady);
  std::atomic<bool> stop{false};
  Task punches([&] {
    while (!stop.load()) {
      file().punch(kFar, 64 * KiB).value();
      write(file(), kFar, pattern(64 * KiB));
    }
    return 0;
  });
  for (int round = 0; round < 200; ++round) {
    const Window window = map(file(), 64 * KiB, 128 * KiB).value();
    for (std::uint64_t at = 0; at < 128 * KiB; at += 16 * KiB) static_cast<void>(load(window, at));
    EXPECT_EQ(load(steady, 0), pattern(kBytes)[0]);
  }
  stop.store(true);
  punches.get();
}

// A full pool: a store to a hole has nowhere to go, and only that store. Allocation in time says so before.
TEST_P(WindowRace, AStoreThatFindsNoSpaceIsABusError) {
  file().punch(kFar, 64 * KiB).value();
  const Window window = map();
  SKIP_WITHOUT_FAULTS(window);
  File filler = make_file("/filler", "");
  for (const std::uint64_t size : {MiB, 4 * KiB}) {
    const std::string piece = pattern(size);
    while (filler.append(std::as_bytes(std::span(piece)))) {
    }
  }
  EXPECT_EQ(code_of(map(file(), kFar, 64 * KiB, {.populate = true})), ENOSPC);
  EXPECT_TRUE(store_dies_of_bus_error(window.data() + kFar));
  EXPECT_EQ(load(window, 0), pattern(kBytes)[0]);
  fs().unlink("/filler").value();
}

const auto kBoth = ::testing::Values(ServeFaults::thread, ServeFaults::in_thread);
const auto kName = [](const auto& parameter) {
  return parameter.param == ServeFaults::thread ? "thread" : "in_thread";
};
INSTANTIATE_TEST_SUITE_P(Served, WindowRace, kBoth, kName);
INSTANTIATE_TEST_SUITE_P(Served, DiskWindowRace, kBoth, kName);
INSTANTIATE_TEST_SUITE_P(Served, ViewLife, kBoth, kName);

}  // namespace
}  // namespace holdfast::test
