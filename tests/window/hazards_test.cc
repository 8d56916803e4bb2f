// Goal: what Linux does silently, or only under conditions, costs no store and shows no wrong byte (docs/hazards.md).
// Method: each test brings about one such condition around a window, and looks at the bytes, or at what the kernel says
// of the mappings.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <holdfast/holdfast.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "support/hugetlb.h"
#include "support/mark_stop.h"
#include "support/pool_fixture.h"
#include "support/skip.h"
#include "support/smaps.h"
#include "support/task.h"
#include "support/window_bed.h"
#include "window/fault_server.h"
#include "window/file_windows.h"
#include "window/registry.h"

namespace holdfast::test {
namespace {

#define SKIP_WITHOUT_FAULTS(window) \
  if ((window).faults() == Faults::none) HF_SKIP_CAPABILITY("userfaultfd", "windows take no faults")

class Hazards : public WindowBed {
 protected:
  static char load(const Window& window, std::uint64_t offset) {
    return std::to_integer<char>(*const_cast<const volatile std::byte*>(window.data() + offset));
  }
  static constexpr std::uint64_t kPage = 4 * KiB;
};

// Memory of the pool that another program took away again (a hole in the pool file) is a missing page and no minor
// fault. Registered for minor faults alone, the kernel would fill it without a word; unserved, the touch would hang.
TEST_F(Hazards, MemoryThatLeftTheCarrierIsBroughtBack) {
  open_pool(Carriage::tmpfs_file);
  File file = make_file("/a", pattern(64 * kPage));
  const std::vector<ExtentInfo> extents = file.extents().value();
  const Window window = file.map(0, 64 * kPage).value();
  SKIP_WITHOUT_FAULTS(window);
  const int fd = open(pool_path().c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  const auto punch = [&](std::uint64_t page) {
    const auto at = static_cast<off_t>(extents.front().device_offset + page * kPage);
    ASSERT_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, 16 * kPage), 0);
  };
  punch(32);
  EXPECT_EQ(load(window, 32 * kPage), '\0');
  window.data()[33 * kPage] = std::byte{'s'};
  EXPECT_EQ(contents(file, 33 * kPage, 1), "s");
  EXPECT_EQ(load(window, 48 * kPage), pattern(64 * kPage)[48 * kPage]);
  punch(16);
  close(fd);
  Window again = file.map(0, 64 * kPage, {.populate = true}).value();
  EXPECT_EQ(load(again, 16 * kPage), '\0');
  EXPECT_EQ(load(again, 33 * kPage), 's');
}

// A mapping that replaces another has no registration, one that is moved loses it: every part of a window that can be
// filled must be watched, whatever was done to it.
TEST_F(Hazards, EveryPartStaysWatched) {
  open_pool(Carriage::memory);
  File file = make_file("/a", pattern(256 * kPage));
  const Window window = file.map(0, 512 * kPage).value();
  SKIP_WITHOUT_FAULTS(window);
  for (std::uint64_t page = 0; page < 256; page += 3) {
    file.punch(page * kPage, kPage).value();
    if (page % 2 == 0) {
      EXPECT_EQ(load(window, page * kPage), '\0');
    }
    if (page % 5 == 0) write(file, page * kPage, "filled");
    if (page % 7 == 0) window.data()[page * kPage] = std::byte{1};
  }
  file.truncate(100 * kPage).value();
  file.truncate(400 * kPage).value();
  EXPECT_EQ(unwatched_parts(window.bytes()), "");
}

// A translation that is asked for after the file ended there must not appear: over a guard or poison marker it would.
TEST_F(Hazards, ALateTranslationBehindTheEndFails) {
  open_pool(Carriage::memory);
  File file = make_file("/a", pattern(64 * kPage));
  const Window window = file.map(0, 64 * kPage, {.populate = true}).value();
  SKIP_WITHOUT_FAULTS(window);
  file.truncate(kPage).value();
  EXPECT_NE(window::fault_service(ServeFaults::thread).value()->resume(window.data() + 32 * kPage, kPage, kPage), 0);
  EXPECT_TRUE(dies_of_bus_error(window.data() + 32 * kPage));
}

// Installing stops at the first page that is there already; the rest must come all the same.
TEST_F(Hazards, ARangeThatIsThereInPartIsInstalledWhole) {
  open_pool(Carriage::tmpfs_file);
  File file = make_file("/a", pattern(64 * kPage));
  Window window = file.map(0, 64 * kPage).value();
  SKIP_WITHOUT_FAULTS(window);
  static_cast<void>(load(window, 40 * kPage));
  window.populate(0, 64 * kPage).value();
  for (std::uint64_t page = 0; page < 64; ++page) EXPECT_TRUE(is_present(window.data() + page * kPage)) << page;
}

// Several threads wait for one page: the first to be served makes the others' installation fail with EEXIST, and they
// must be woken still.
TEST_F(Hazards, AllWhoWaitForOnePageGoOn) {
  open_pool(Carriage::memory);
  constexpr std::uint64_t kPages = 512;
  constexpr unsigned kThreads = 4;
  File file = make_file("/a", pattern(kPages * kPage));
  const Window window = file.map(0, kPages * kPage).value();
  SKIP_WITHOUT_FAULTS(window);
  std::atomic<unsigned> arrived{0};
  std::vector<std::unique_ptr<Task<int>>> tasks;
  for (unsigned i = 0; i < kThreads; ++i) {
    tasks.push_back(std::make_unique<Task<int>>([&] {
      for (unsigned round = 1; round <= kPages / 16; ++round) {
        arrived.fetch_add(1);
        while (arrived.load() < round * kThreads) std::this_thread::yield();
        if (load(window, (round * 16 - 5) * kPage) != pattern(kPages * kPage)[(round * 16 - 5) * kPage]) return 1;
      }
      return 0;
    }));
  }
  for (const auto& task : tasks) EXPECT_EQ(task->get(), 0);
}

// A part is replaced by one that was prepared elsewhere. Mapped in place and registered afterwards it would take stores
// of its own in between.
TEST_F(Hazards, AStoreWhileAPartIsPreparedReachesTheFile) {
  open_pool(Carriage::memory);
  File file = make_file("/a", pattern(64 * kPage));
  const Window window = file.map(0, 64 * kPage).value();
  SKIP_WITHOUT_FAULTS(window);
  file.punch(16 * kPage, 16 * kPage).value();
  EXPECT_EQ(load(window, 16 * kPage), '\0');
  MarkStop stop("window.prepared");
  Task fill([&] {
    write(file, 16 * kPage, "file");
    return 0;
  });
  ASSERT_TRUE(stop.wait_until_stopped());
  EXPECT_EQ(load(window, 16 * kPage), '\0');
  Task store([&] {
    window.data()[16 * kPage + 100] = std::byte{'w'};
    return 0;
  });
  stop.go_on();
  EXPECT_EQ(fill.get(), 0);
  EXPECT_EQ(store.get(), 0);
  EXPECT_EQ(contents(file, 16 * kPage, 4), "file");
  EXPECT_EQ(contents(file, 16 * kPage + 100, 1), "w");
  EXPECT_EQ(load(window, 16 * kPage), 'f');
}

// Removing the translations of less than a huge page does nothing, and says that it did.
TEST_F(Hazards, TranslationsOfHugePagesGoWhole) {
  HugePages pages(48U);
  if (!pages.missing().empty()) HF_SKIP_CAPABILITY("hugetlb", pages.missing());
  open_pool(Carriage::hugetlb, 96 * MiB);
  File file = make_file("/a", pattern(4 * MiB));
  const Window window = file.map(0, 4 * MiB, {.populate = true}).value();
  SKIP_WITHOUT_FAULTS(window);
  ASSERT_TRUE(is_present(window.data()));
  window::find_and_keep_view(window.data())->file().remove_translations({PageIndex(1), PageIndex(2)});
  EXPECT_FALSE(is_present(window.data()));
  EXPECT_TRUE(is_present(window.data() + 2 * MiB));
  EXPECT_EQ(text(window, kPage, 20), pattern(4 * MiB).substr(kPage, 20));
}

// A window for reading is of a descriptor for writing: of one for reading only the kernel registers nothing.
TEST_F(Hazards, AWindowForReadingIsWatchedToo) {
  open_pool(Carriage::memory);
  File file = make_file("/a", pattern(64 * kPage));
  const Window window = file.map(0, 64 * kPage, {.access = Access::read}).value();
  SKIP_WITHOUT_FAULTS(window);
  EXPECT_EQ(unwatched_parts(window.bytes()), "");
  EXPECT_EQ(load(window, 40 * kPage), pattern(64 * kPage)[40 * kPage]);
  file.punch(32 * kPage, 16 * kPage).value();
  EXPECT_EQ(load(window, 40 * kPage), '\0');
}

// What the kernel copies at the end of a transfer follows the addresses of the program: a device gets the pool's own,
// which stay good when the window ends and its addresses are somebody else's.
TEST_F(Hazards, APinsAddressOutlivesTheWindow) {
  open_pool(Carriage::memory);
  File file = make_file("/a", pattern(64 * kPage));
  std::optional<Window> window = file.map(0, 64 * kPage).value();
  Pin pin = fs().pin_address(window->data() + kPage, 100, {.access = Access::write}).value();
  std::byte* const was = window->data() + kPage;
  EXPECT_NE(pin.segments()[0].address, was);
  window.reset();
  File other = make_file("/b", pattern(64 * kPage));
  const Window next = other.map(0, 64 * kPage).value();
  std::memcpy(pin.segments()[0].address, "device", 6);
  EXPECT_EQ(contents(file, kPage, 6), "device");
  EXPECT_EQ(contents(other, kPage, 6), pattern(64 * kPage).substr(kPage, 6));
}

}  // namespace
}  // namespace holdfast::test
