// Goal: a window shows the file and nothing else, whatever happens to the file, on every carrier.
// Method: loads and stores through a window beside reads and writes through the file, around each operation that
// changes where bytes live.
#include <gtest/gtest.h>
#include <holdfast/holdfast.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "base/fault_point.h"
#include "base/units.h"
#include "support/child.h"
#include "support/hugetlb.h"
#include "support/pool_fixture.h"
#include "support/random_stores.h"
#include "support/showing_bed.h"
#include "support/skip.h"
#include "support/window_bed.h"

namespace holdfast::test {
namespace {

class Windows : public ShowingBed {
 protected:
  // Pages of the carrier: many, where they are small.
  std::uint64_t many() const { return carriage() == Carriage::hugetlb ? 16 : 64; }
};

TEST_P(Windows, ShowsWhatWasWritten) {
  File file = make_file("/a", pattern(3 * grain() + 5));
  const Window window = map(file, 0, 4 * grain()).value();
  EXPECT_EQ(text(window, 0, 3 * grain() + 5), pattern(3 * grain() + 5));
  EXPECT_EQ(window.data()[3 * grain() + 5], std::byte{0});
}

TEST_P(Windows, StoresAreWhatTheFileReads) {
  File file = make_file("/a", pattern(2 * grain()));
  const Window window = map(file, 0, 2 * grain()).value();
  std::memcpy(window.data() + grain() - 3, "stored", 6);
  EXPECT_EQ(contents(file, grain() - 3, 6), "stored");
  write(file, grain() + 100, "written");
  EXPECT_EQ(text(window, grain() + 100, 7), "written");
}

TEST_P(Windows, AHoleReadsAsZerosAndAllocatesWithTheFirstStore) {
  File file = make_file("/a", "");
  file.truncate(8 * grain()).value();
  const Window window = map(file, 0, 8 * grain()).value();
  for (std::uint64_t page = 0; page < 8; ++page) EXPECT_EQ(window.data()[page * grain()], std::byte{0});
  if (window.faults() != Faults::none) {
    EXPECT_EQ(file.stat().value().allocated, 0U);
  }
  window.data()[3 * grain() + 1] = std::byte{7};
  EXPECT_GT(file.stat().value().allocated, 0U);
  EXPECT_EQ(contents(file, 3 * grain(), 3), std::string("\0\7\0", 3));
  EXPECT_EQ(window.data()[2 * grain()], std::byte{0});
  EXPECT_EQ(window.data()[4 * grain()], std::byte{0});
}

TEST_P(Windows, AWriteToAHoleThatWasReadIsSeen) {
  File file = make_file("/a", "");
  file.truncate(4 * grain()).value();
  const Window window = map(file, 0, 4 * grain()).value();
  EXPECT_EQ(window.data()[grain()], std::byte{0});
  write(file, grain(), "now");
  EXPECT_EQ(text(window, grain(), 3), "now");
  window.data()[grain()] = std::byte{'N'};
  EXPECT_EQ(contents(file, grain(), 3), "Now");
}

TEST_P(Windows, UnwrittenBlocksReadAsZerosAndKeepStores) {
  File file = make_file("/a", "");
  file.allocate(0, 4 * grain()).value();
  const Window window = map(file, 0, 4 * grain()).value();
  EXPECT_EQ(text(window, 0, 100), std::string(100, '\0'));
  std::memcpy(window.data() + 2 * grain(), "kept", 4);
  EXPECT_EQ(contents(file, 2 * grain(), 4), "kept");
}

TEST_P(Windows, APunchedRangeReadsAsZerosAndCanBeStoredAgain) {
  File file = make_file("/a", pattern(4 * grain()));
  const Window window = map(file, 0, 4 * grain(), {.populate = true}).value();
  EXPECT_EQ(text(window, grain(), grain()), pattern(4 * grain()).substr(grain(), grain()));
  file.punch(grain(), grain()).value();
  EXPECT_EQ(text(window, grain(), 100), std::string(100, '\0'));
  EXPECT_EQ(text(window, 2 * grain(), 100), pattern(4 * grain()).substr(2 * grain(), 100));
  if (window.faults() != Faults::none) {
    std::memcpy(window.data() + grain(), "again", 5);
    EXPECT_EQ(contents(file, grain(), 5), "again");
  }
  EXPECT_EQ(text(window, 0, grain()), pattern(4 * grain()).substr(0, grain()));
}

TEST_P(Windows, PastTheEndIsABusErrorUntilTheFileGrows) {
  File file = make_file("/a", pattern(grain() + 1));
  const Window window = map(file, 0, 4 * grain()).value();
  EXPECT_FALSE(dies_of_bus_error(window.data() + grain() + 1));
  EXPECT_TRUE(dies_of_bus_error(window.data() + 2 * grain()));
  EXPECT_EQ(system_call_reads(window.data() + 2 * grain()), EFAULT);
  write(file, 2 * grain(), "more");
  EXPECT_EQ(text(window, 2 * grain(), 4), "more");
  EXPECT_TRUE(dies_of_bus_error(window.data() + 3 * grain()));
}

TEST_P(Windows, ATruncatedEndIsABusError) {
  File file = make_file("/a", pattern(4 * grain()));
  const Window window = map(file, 0, 4 * grain(), {.populate = true}).value();
  file.truncate(grain() + 10).value();
  EXPECT_TRUE(dies_of_bus_error(window.data() + 2 * grain()));
  EXPECT_EQ(text(window, 0, grain() + 10), pattern(4 * grain()).substr(0, grain() + 10));
  EXPECT_EQ(window.data()[grain() + 10], std::byte{0});
  file.truncate(4 * grain()).value();
  EXPECT_EQ(text(window, 3 * grain(), 10), std::string(10, '\0'));
}

TEST_P(Windows, ASystemCallBringsAbsentPages) {
  File file = make_file("/a", pattern(many() * grain()));
  const Window window = map(file, 0, many() * grain()).value();
  EXPECT_EQ(system_call_reads(window.data() + many() / 2 * grain()), calls_fail(window) ? EFAULT : 0);
}

TEST_P(Windows, TwoWindowsOfOneFileAgree) {
  File file = make_file("/a", pattern(4 * grain()));
  const Window one = map(file, 0, 4 * grain()).value();
  const Window two = map(file, 2 * grain(), 2 * grain(), {.access = Access::read}).value();
  one.data()[3 * grain()] = std::byte{'!'};
  EXPECT_EQ(two.data()[grain()], std::byte{'!'});
  file.punch(3 * grain(), grain()).value();
  EXPECT_EQ(one.data()[3 * grain()], std::byte{0});
  EXPECT_EQ(two.data()[grain()], std::byte{0});
}

TEST_P(Windows, APartThatWasUnmappedIsGone) {
  File file = make_file("/a", pattern(4 * grain()));
  Window window = map(file, 0, 4 * grain()).value();
  window.unmap(grain(), grain()).value();
  EXPECT_TRUE(dies_of_segmentation(window.data() + grain()));
  EXPECT_EQ(text(window, 2 * grain(), 10), pattern(4 * grain()).substr(2 * grain(), 10));
  EXPECT_EQ(code_of(window.unmap(1, grain())), EINVAL);
  EXPECT_EQ(code_of(window.unmap(4 * grain(), grain())), EINVAL);
}

TEST_P(Windows, APinByAddressIsAPinOfTheFile) {
  File file = make_file("/a", pattern(4 * grain()));
  const Window window = map(file, grain(), 3 * grain()).value();
  {
    const Pin pin = fs().pin_address(window.data() + grain() + 5, 10, {.purpose = "by address"}).value();
    ASSERT_EQ(pin.segments().size(), 1U);
    EXPECT_EQ(std::memcmp(pin.segments()[0].address, pattern(4 * grain()).data() + 2 * grain() + 5, 10), 0);
    const Status busy = file.punch(2 * grain(), grain(), {.on_pinned = OnPinned::fail});
    EXPECT_EQ(code_of(busy), EBUSY);
    EXPECT_NE(busy.error().reason().find("by address"), std::string::npos) << busy.error().reason();
  }
  file.punch(2 * grain(), grain(), {.on_pinned = OnPinned::fail}).value();
  int local = 0;
  EXPECT_EQ(code_of(fs().pin_address(&local, 4)), EFAULT);
  EXPECT_EQ(code_of(fs().pin_address(window.data() + 2 * grain(), 2 * grain())), EFAULT);
}

TEST_P(Windows, AWindowKeepsTheFileOpenAndUnmountNamesIt) {
  Window window = [this] {
    File file = make_file("/a", pattern(grain()));
    return map(file, 0, grain()).value();
  }();
  const Status refused = fs().unmount();
  EXPECT_EQ(code_of(refused), EBUSY);
  EXPECT_NE(refused.error().reason().find("/a"), std::string::npos) << refused.error().reason();
  EXPECT_EQ(text(window, 0, 10), pattern(grain()).substr(0, 10));
  fs().unlink("/a").value();
  EXPECT_EQ(text(window, 0, 10), pattern(grain()).substr(0, 10));
}

TEST_P(Windows, PopulatePassesOverWhatWasUnmapped) {
  File file = make_file("/a", pattern(4 * grain()));
  Window window = map(file, 0, 4 * grain()).value();
  window.unmap(grain(), grain()).value();
  window.populate(0, 4 * grain()).value();
  EXPECT_TRUE(dies_of_segmentation(window.data() + grain()));
  EXPECT_EQ(text(window, 3 * grain(), 10), pattern(4 * grain()).substr(3 * grain(), 10));
}

TEST_P(Windows, PartOfAPageThatIsWrittenIntoAHoleIsSeen) {
  File file = make_file("/a", "");
  file.truncate(2 * grain()).value();
  const Window window = map(file, 0, 2 * grain(), {.access = Access::read}).value();
  EXPECT_EQ(text(window, grain() + 90, 20), std::string(20, '\0'));
  write(file, grain() + 100, "part");
  EXPECT_EQ(text(window, grain() + 98, 8), std::string("\0\0part\0\0", 8));
  write(file, grain() + 102, "RT");
  EXPECT_EQ(text(window, grain() + 100, 4), "paRT");
}

TEST_P(Windows, NothingOfAnotherFileIsShownPastTheEnd) {
  make_file("/old", std::string(8 * grain(), 'o'));
  fs().unlink("/old").value();
  fs().sync().value();
  File file = make_file("/a", pattern(100));
  file.allocate(0, 2 * grain(), Allocate::keep_size).value();
  const Result<Window> window = map(file, 0, 2 * grain());
  if (!window) {
    EXPECT_EQ(code_of(window), EOPNOTSUPP) << "a small file need not lie on a large page";
    return;
  }
  EXPECT_TRUE(text(*window, 100, grain() - 100) == std::string(grain() - 100, '\0'));
  file.truncate(2 * grain()).value();
  EXPECT_TRUE(text(*window, 100, 2 * grain() - 100) == std::string(2 * grain() - 100, '\0'));
}

// A window that cannot let go of what leaves: the file stays as it is, and so does what the window shows.
TEST_P(Windows, ADetachThatAWindowRefusesChangesNothing) {
  if (carriage() == Carriage::disk_file) return;  // there the translations go by a step that does not fail
  File file = make_file("/a", pattern(4 * grain()));
  const Window window = map(file, 0, 4 * grain(), {.populate = true}).value();
  const Pin pin = file.pin(2 * grain(), grain(), {.access = Access::write}).value();
  fault_point::arm("window.show", 1);
  EXPECT_EQ(code_of(file.truncate(grain(), {.on_pinned = OnPinned::detach})), ENOMEM);
  fault_point::disarm_all();
  EXPECT_EQ(file.size(), 4 * grain());
  EXPECT_TRUE(contents(file, 0, 4 * grain()) == pattern(4 * grain()));
  EXPECT_TRUE(text(window, 0, 4 * grain()) == pattern(4 * grain()));
  EXPECT_EQ(fs().space().quarantined, 0U);
  file.truncate(grain(), {.on_pinned = OnPinned::detach}).value();
  EXPECT_GT(fs().space().quarantined, 0U);
}

// mlockall(MCL_FUTURE) brings pages at mmap: windows must not show what nobody tracks.
TEST_P(Windows, LockedMemoryIsNotBroughtBehindOurBack) {
  if (mlockall(MCL_FUTURE) != 0) HF_SKIP_CAPABILITY("mlock", "mlockall is refused");
  File file = make_file("/a", pattern(2 * grain()));
  file.truncate(4 * grain()).value();
  if (const Result<Window> window = map(file, 0, 4 * grain())) {
    EXPECT_EQ(text(*window, 3 * grain(), 4), std::string(4, '\0'));
    write(file, 3 * grain(), "seen");
    EXPECT_EQ(text(*window, 3 * grain(), 4), "seen");
    file.punch(0, grain()).value();
    EXPECT_EQ(text(*window, 0, 4), std::string(4, '\0'));
    EXPECT_EQ(text(*window, grain(), 4), pattern(2 * grain()).substr(grain(), 4));
  } else {
    // More than an ordinary user may lock (RLIMIT_MEMLOCK).
    EXPECT_TRUE(geteuid() != 0 && (code_of(window) == EAGAIN || code_of(window) == ENOMEM)) << code_of(window);
  }
  munlockall();
}

TEST_P(Windows, AForkedChildHasNone) {
  File file = make_file("/a", pattern(2 * grain()));
  {
    Window window = map(file, 0, 2 * grain()).value();
    const ChildEnd end = run_in_child([&]() -> std::string {
      unsigned char there = 0;
      if (mincore(window.data(), 4096, &there) == 0) return "the addresses are mapped";
      if (code_of(window.populate(0, grain())) != ECHILD) return "populate works";
      if (code_of(window.unmap(0, grain())) != ECHILD) return "unmap works";
      if (code_of(map(file, 0, grain())) != ECHILD) return "map works";
      { const Window moved = std::move(window); }
      return {};
    });
    EXPECT_EQ(end.message, "");
    EXPECT_EQ(text(window, 0, 10), pattern(2 * grain()).substr(0, 10));
  }
  // The parent's faults are served after its child has come and gone.
  const Window again = map(file, 0, 2 * grain()).value();
  EXPECT_EQ(text(again, grain(), 10), pattern(2 * grain()).substr(grain(), 10));
}

TEST_P(Windows, WhatIsNotAWindowIsRefused) {
  File file = make_file("/a", pattern(grain()));
  EXPECT_EQ(code_of(map(file, 0, 0)), EINVAL);
  EXPECT_EQ(code_of(map(file, 1, grain())), EINVAL);
  EXPECT_EQ(code_of(map(file, 0, std::uint64_t{1} << 60)), EOVERFLOW);
  const File reader = fs().open("/a", Open::read).value();
  EXPECT_EQ(code_of(const_cast<File&>(reader).map(0, grain())), EBADF);
  EXPECT_TRUE(const_cast<File&>(reader).map(0, grain(), {.access = Access::read}));
}

// The same at length: make stress.
TEST_P(Windows, NoStoreIsLost) {
  // Large pages are few, and meet the end of the file all the time: more changes show more.
  const StoreCount count = random_stores(fs(), {.seed = 1,
                                                .page_bytes = grain(),
                                                .pages = many(),
                                                .faults = GetParam().faults,
                                                .changes = std::uint64_t{grain() > kPageBytes ? 1200U : 300U}});
  EXPECT_EQ(count.lost, 0U) << count.first_lost;
  EXPECT_EQ(count.strayed, 0U);
  EXPECT_GT(count.reused, 0U);
}

INSTANTIATE_TEST_SUITE_P(Carriers, Windows, ::testing::ValuesIn(kEveryShowing),
                         [](const auto& parameter) { return to_string(parameter.param); });

}  // namespace
}  // namespace holdfast::test
