// Goal: the scenarios in which real kernels (fsdax of 6.1 to 7.3) were watched, with the behaviour that is promised
// here: one pinned page of a file of six, mapped, and an operation in another thread.
// Method: the public interface; a sleeping operation is known by a mark, and has to end with the pin and not before.
//
// | scenario | kernels | here | test |
// |---|---|---|---|
// | truncate to 0, inside the page, O_TRUNC; punch, zero range of the page | wait | wait |
// KernelRows.WhatTakesThePageWaits | | after it, through the mapping | SIGBUS, zeros | the same |
// KernelRows.WhatTakesThePageWaits | | load through the mapping while they wait | old data | the same |
// KernelRows.WhatTakesThePageWaits | | truncate behind the page, extending truncate, punch of another page | wait |
// must not | KernelRows.WhatLeavesThePageWaitsForNobody | | munmap, unlink while open, read, write over, fsync | do not
// wait | the same | KernelRows.WhatLeavesThePageWaitsForNobody | | truncate when nobody maps the file any more | 6.1:
// does not wait | waits | KernelRows.WhatTakesThePageWaits (unmapped), WindowEnd.R4_APinHoldsWhenItsWindowIsGone | | a
// pin shared by two holders; part of a pin drained | until the last | the same |
// KernelRows.APinOfTwoHoldersIsWaitedForToItsLast | | a fixed buffer of io_uring on the mapping | refused | granted,
// waited for | KernelRows.ATransferInFlightIsWaitedFor | | touch through another mapping during the wait | from 6.15:
// stalls | ends with the pin | KernelRows.ATouchElsewhereProlongsNothing | | a signal while it waits | EINTR, nothing
// changed | the same | KernelRows.ASignalEndsTheWait | | idle reference count | 1, or 0 | 0 |
// KernelRows.AnIdlePageHasNoReference | | kill -9 of who holds unlinked file and pin | stuck, or frees under the pin |
// dies, e2fsck -p frees | KernelRows.AKillWithAnUnlinkedPinnedFile | | unlink, unmap, last close, fill the pool |
// overwritten | intact | Reuse.R5_PinUnmapCloseUnlinkEvictReallocateWriteCompare | | end of the pool under pins, faults
// | ignored | drains, names | Unmount.R17_APinComesBetweenTheLooks, Breaks.UnmountNamesWhoIsInTheWay |
#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "cli/slow_transfer.h"
#include "filesystem/core.h"
#include "support/child.h"
#include "support/mark_stop.h"
#include "support/pool_fixture.h"
#include "support/skip.h"
#include "support/task.h"
#include "support/window_bed.h"

namespace holdfast::test {
namespace {

constexpr std::uint64_t kPage = 4 * KiB;
constexpr std::uint64_t kPinned = 2;  // of the pages 0 to 5

struct Operation {
  const char* name;
  std::function<int(Filesystem&, File&)> run;
};

class KernelRows : public PoolTest {
 protected:
  File make() { return make_file("/file", 6 * kPage); }
  static Result<Pin> pin(File& file) { return file.pin(kPinned * kPage, kPage, {.access = Access::write}); }
  static std::string text_of(const Pin& pin) {
    return {reinterpret_cast<const char*>(pin.segments().front().address), pin.segments().front().length};
  }
  static char load(const Window& window, std::uint64_t offset) {
    return std::to_integer<char>(*const_cast<const volatile std::byte*>(window.data() + offset));
  }
  std::uint32_t refcount(const File& file, std::uint64_t page) {
    const auto& inode = *file.impl()->inode;
    return fs().core().pages().refcount(inode.extents.find(PageIndex(page)).pfn);
  }
};

TEST_F(KernelRows, WhatTakesThePageWaits) {
  const Operation operations[] = {
      {"truncate to 0", [](Filesystem&, File& file) { return code_of(file.truncate(0)); }},
      {"truncate inside", [](Filesystem&, File& file) { return code_of(file.truncate(kPinned * kPage + 100)); }},
      {"O_TRUNC", [](Filesystem& fs, File&) { return code_of(fs.open("/file", Open::read_write | Open::truncate)); }},
      {"punch", [](Filesystem&, File& file) { return code_of(file.punch(kPinned * kPage, kPage)); }},
      {"punch of part", [](Filesystem&, File& file) { return code_of(file.punch(kPinned * kPage + 10, 100)); }},
      {"zero range", [](Filesystem&, File& file) { return code_of(file.zero_range(0, 6 * kPage)); }},
  };
  for (const Operation& operation : operations) {
    for (const bool mapped : {true, false}) {
      SCOPED_TRACE(operation.name);
      SCOPED_TRACE(mapped ? "mapped" : "unmapped");
      File file = make();
      std::optional<Window> window;
      if (mapped) window = file.map(0, 6 * kPage).value();
      Pin held = pin(file).value();
      MarkCount sleeps("layout.break.sleeps");
      std::atomic<bool> released{false};
      Task waiting([&] {
        const int code = operation.run(fs(), file);
        return std::pair(code, released.load());
      });
      ASSERT_TRUE(sleeps.wait_until(1)) << "it took a pinned page";
      EXPECT_EQ(file.size(), 6 * kPage);
      if (mapped) {
        EXPECT_EQ(load(*window, kPinned * kPage), 'x') << "the old data, while it waits";
      }
      EXPECT_EQ(text_of(held), std::string(kPage, 'x'));
      released = true;
      held.release();
      EXPECT_EQ(waiting.get(), std::pair(0, true));
      if (mapped && file.size() == 0) {
        EXPECT_TRUE(dies_of_bus_error(window->data() + kPinned * kPage));
      } else if (mapped) {
        EXPECT_EQ(load(*window, kPinned * kPage + 105), '\0');
      }
      window.reset();
      file.truncate(0).value();
    }
  }
}

TEST_F(KernelRows, WhatLeavesThePageWaitsForNobody) {
  std::optional<Window> mapped;
  const Operation operations[] = {
      {"truncate behind it", [](Filesystem&, File& file) { return code_of(file.truncate(4 * kPage)); }},
      {"truncate right behind it",
       [](Filesystem&, File& file) { return code_of(file.truncate((kPinned + 1) * kPage)); }},
      {"truncate that extends", [](Filesystem&, File& file) { return code_of(file.truncate(9 * kPage)); }},
      {"punch of another page", [](Filesystem&, File& file) { return code_of(file.punch(3 * kPage, kPage)); }},
      {"zero range of another",
       [](Filesystem&, File& file) { return code_of(file.zero_range((kPinned - 1) * kPage, kPage)); }},
      {"read",
       [](Filesystem&, File& file) {
         std::vector<std::byte> buffer(kPage);
         return code_of(file.read(kPinned * kPage, buffer));
       }},
      {"write over it",
       [](Filesystem&, File& file) { return code_of(file.write(kPinned * kPage, bytes(kPage, 'x'))); }},
      {"append", [](Filesystem&, File& file) { return code_of(file.append(bytes(10, 'x'))); }},
      {"fsync", [](Filesystem&, File& file) { return code_of(file.sync()); }},
      {"syncfs", [](Filesystem& fs, File&) { return code_of(fs.sync()); }},
      {"munmap",
       [&mapped](Filesystem&, File&) {
         mapped.reset();
         return 0;
       }},
      {"rename", [](Filesystem& fs, File&) { return code_of(fs.rename("/file", "/other")); }},
      {"unlink while open",
       [](Filesystem& fs, File&) { return code_of(fs.unlink(fs.stat("/other") ? "/other" : "/file")); }},
  };
  for (const Operation& operation : operations) {
    SCOPED_TRACE(operation.name);
    File file = fs().stat("/other") ? fs().open("/other", Open::read_write).value() : make();
    mapped = file.map(0, 6 * kPage).value();
    Pin held = pin(file).value();
    MarkCount sleeps("layout.break.sleeps");
    // In a thread of its own: the holder's would be told of a deadlock instead of waiting.
    Task running([&] { return operation.run(fs(), file); });
    EXPECT_EQ(running.get(), 0);
    EXPECT_EQ(sleeps.passings(), 0U) << "it slept, and for whom";
    EXPECT_EQ(text_of(held), std::string(kPage, 'x'));
    EXPECT_EQ(refcount(file, kPinned), 2U);
    if (mapped) {
      EXPECT_EQ(load(*mapped, kPinned * kPage), 'x');
    }
    mapped.reset();
    held.release();
    file.write(0, bytes(6 * kPage, 'x')).value();
  }
}

// Two pins of one page, and one that ends in the middle of it: the last of them counts, and each part as the whole.
TEST_F(KernelRows, APinOfTwoHoldersIsWaitedForToItsLast) {
  for (const bool first_goes_first : {true, false}) {
    File file = make();
    Pin first = pin(file).value();
    Pin second = file.pin(kPinned * kPage + kPage - 1, 1).value();  // one byte is the page
    MarkCount sleeps("layout.break.sleeps");
    std::atomic<int> released{0};
    Task waiting([&] {
      const int code = code_of(file.truncate(0));
      return std::pair(code, released.load());
    });
    ASSERT_TRUE(sleeps.wait_until(1));
    ++released;
    (first_goes_first ? first : second).release();
    ASSERT_TRUE(sleeps.wait_until(2)) << "the other holder's reference was not waited for";
    ++released;
    (first_goes_first ? second : first).release();
    EXPECT_EQ(waiting.get(), std::pair(0, 2));
  }
}

// The kernel refuses a fixed buffer on DAX. Here the transfer's pin is what the truncate waits for; the device writes
// into the file's page, and no other.
TEST_F(KernelRows, ATransferInFlightIsWaitedFor) {
  File file = make();
  Pin held = pin(file).value();
  const Segment segment = held.segments().front();
  Result<cli::SlowTransfer> transfer = cli::SlowTransfer::start({segment.address, segment.length});
  if (!transfer && (transfer.error().code() == ENOSYS || transfer.error().code() == EPERM)) {
    HF_SKIP_CAPABILITY("io_uring", transfer.error().message());
  }
  ASSERT_EQ(code_of(transfer), 0);
  MarkCount sleeps("layout.break.sleeps");
  Task waiting([&] { return code_of(file.truncate(0)); });
  ASSERT_TRUE(sleeps.wait_until(1));
  make_file("/other", 64 * KiB, 'o');
  transfer->finish(std::byte{'d'}).value();
  EXPECT_FALSE(waiting.done());
  std::string got(kPage, '?');
  EXPECT_EQ(file.read(kPinned * kPage, std::as_writable_bytes(std::span(got))).value(), kPage);
  EXPECT_EQ(got, std::string(kPage, 'd'));
  held.release();
  EXPECT_EQ(waiting.get(), 0);
  std::vector<std::byte> others(64 * KiB);
  EXPECT_EQ(fs().open("/other", Open::read).value().read(0, others).value(), 64 * KiB);
  EXPECT_EQ(others, bytes(64 * KiB, 'o'));
}

TEST_F(KernelRows, ATouchElsewhereProlongsNothing) {
  File file = make();
  const Window one = file.map(0, 6 * kPage).value();
  EXPECT_EQ(load(one, kPinned * kPage), 'x');
  Pin held = pin(file).value();
  MarkCount sleeps("layout.break.sleeps");
  Task waiting([&] { return code_of(file.truncate(0)); });
  ASSERT_TRUE(sleeps.wait_until(1));
  const Window other = file.map(0, 6 * kPage).value();
  EXPECT_EQ(load(other, kPinned * kPage), 'x');
  EXPECT_EQ(load(one, kPinned * kPage), 'x');
  EXPECT_FALSE(waiting.done());
  held.release();
  EXPECT_EQ(waiting.get(), 0) << "with both windows there";
  EXPECT_TRUE(dies_of_bus_error(one.data() + kPinned * kPage));
  EXPECT_TRUE(dies_of_bus_error(other.data() + kPinned * kPage));
}

TEST_F(KernelRows, ASignalEndsTheWait) {
  struct sigaction action {};
  struct sigaction before {};
  action.sa_handler = [](int) {};
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);
  File file = make();
  const Window window = file.map(0, 6 * kPage).value();
  const Pin held = pin(file).value();
  for (const bool punches : {false, true}) {
    MarkCount sleeps("layout.break.sleeps");
    Task waiting([&] { return code_of(punches ? file.punch(kPinned * kPage, kPage) : file.truncate(0)); });
    ASSERT_TRUE(sleeps.wait_until(1));
    while (!waiting.done()) {
      pthread_kill(waiting.handle(), SIGUSR1);
      std::this_thread::yield();
    }
    EXPECT_EQ(waiting.get(), EINTR);
    EXPECT_EQ(file.size(), 6 * kPage);
    EXPECT_EQ(load(window, kPinned * kPage), 'x');
    EXPECT_EQ(refcount(file, kPinned), 2U);
    // And the range is open again.
    EXPECT_EQ(code_of(file.pin(kPinned * kPage, kPage, {.on_break = OnBreak::fail})), 0);
  }
  sigaction(SIGUSR1, &before, nullptr);
}

TEST_F(KernelRows, AnIdlePageHasNoReference) {
  File file = make();
  EXPECT_EQ(refcount(file, kPinned), 0U);
  const PageIndex index(kPinned);
  const Pfn place = file.impl()->inode->extents.find(index).pfn;
  EXPECT_EQ(fs().core().pages().try_pin(place, kOrder4K), pagemap::TakeOutcome::untracked)
      << "a page that no file tracks is no one's to pin";
  Pin held = pin(file).value();
  EXPECT_EQ(fs().core().pages().refcount(place), 2U);
  held.release();
  file.truncate(0).value();
  EXPECT_EQ(fs().core().pages().refcount(place), 0U);
  EXPECT_EQ(fs().core().pages().references(), 0U);
}

// The process dies at once, whatever it held; the blocks wait on the orphan list for whoever opens the image next.
TEST_F(KernelRows, AKillWithAnUnlinkedPinnedFile) {
  make_file("/stays", 64 * KiB, 's');
  close();
  const std::int64_t free = dumpe2fs_number(path(), "Free blocks");
  const std::int64_t inodes = dumpe2fs_number(path(), "Free inodes");
  Child child([&](Child& self) -> std::string {
    Filesystem mine = Filesystem::mount(Device::open(path()).value()).value();
    std::optional<File> file = mine.open("/file", Open::read_write | Open::create).value();
    file->write(0, bytes(6 * kPage, 'x')).value();
    const Window window = file->map(0, 6 * kPage).value();
    window.data()[kPinned * kPage] = std::byte{'y'};
    const Pin held = file->pin(kPinned * kPage, kPage, {.access = Access::write}).value();
    mine.unlink("/file").value();
    mine.sync().value();
    self.ready_and_wait();
    return {};
  });
  ASSERT_TRUE(child.wait_until_ready());
  ASSERT_EQ(kill(child.pid(), SIGKILL), 0);
  EXPECT_EQ(child.wait().signal, SIGKILL);
  const ProgramEnd repaired = run_program("e2fsck -p '" + path() + "'");
  EXPECT_LE(repaired.status, 1) << repaired.output;
  EXPECT_EQ(dumpe2fs_number(path(), "Free blocks"), free) << repaired.output;
  EXPECT_EQ(dumpe2fs_number(path(), "Free inodes"), inodes);
  EXPECT_TRUE(e2fsck_clean(path()));
  ASSERT_EQ(code_of(mount()), 0);
  std::vector<std::byte> got(64 * KiB);
  EXPECT_EQ(fs().open("/stays", Open::read).value().read(0, got).value(), got.size());
  EXPECT_EQ(got, bytes(64 * KiB, 's'));
}

}  // namespace
}  // namespace holdfast::test
