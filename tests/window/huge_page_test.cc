// Goal: carriers of huge pages show whole pages of a file and nothing else: what is not whole is completed, or refused
// by name; what leaves a part of a page is zeroed; nothing of another file, and nothing old, is ever beside it. Method:
// pools on pages of 2 MiB with clusters of 4 KiB and of 2 MiB; the window, the file and its extents agree.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <holdfast/holdfast.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

#include "base/fault_point.h"
#include "filesystem/windows.h"
#include "mapping/hold.h"
#include "support/hugetlb.h"
#include "support/skip.h"
#include "support/smaps.h"
#include "support/task.h"
#include "support/window_bed.h"
#include "window/registry.h"

namespace holdfast::test {
namespace {

using testing::HasSubstr;

class HugePageWindows : public WindowBed {
 protected:
  static constexpr std::uint64_t kPage = 2 * MiB;

  void SetUp() override {
    if (!pages_.missing().empty()) HF_SKIP_CAPABILITY("hugetlb", pages_.missing());
  }
  void TearDown() override { close_pool(); }  // before its pages go
  void open(std::uint64_t cluster = 4 * KiB) { open_pool(Carriage::hugetlb, 64 * MiB, {}, {.cluster = cluster}); }
  // A file without blocks ahead of its end: those go with the last handle.
  File settled(const std::string& path, const std::string& bytes) {
    { const File file = make_file(path, bytes); }
    return fs().open(path, Open::read_write).value();
  }
  static std::uint64_t allocated(const File& file) {
    std::uint64_t bytes = 0;
    const std::vector<ExtentInfo> extents = file.extents().value();
    for (const ExtentInfo& extent : extents) bytes += extent.length;
    return bytes;
  }
  static bool is_zero(const Window& window, std::uint64_t offset, std::uint64_t length) {
    const std::string bytes = text(window, offset, length);
    return bytes.find_first_not_of('\0') == std::string::npos;
  }
  // Small files in what is left of broken units.
  void fill_broken_units() {
    fs().sync().value();  // what was freed can be had again
    for (int i = 0; i < 192; ++i) make_file("/small-" + std::to_string(i), pattern(64 * KiB));
  }

  const HugePages pages_{32};
};

TEST_F(HugePageWindows, AWholeFileIsMappedInWholePages) {
  open();
  File file = make_file("/a", "");
  file.allocate(0, 32 * MiB).value();
  const Window window = file.map(0, 32 * MiB).value();
  for (std::uint64_t at = 0; at < window.size(); at += 4 * KiB) window.data()[at] = std::byte{1};
  EXPECT_EQ(mapped_large(window.bytes()), 32 * MiB);
  EXPECT_EQ(fs().unit_statistics().windows.in_2m, 32 * MiB);
  file.punch(kPage, kPage).value();
  EXPECT_EQ(window.data()[kPage], std::byte{0});
  EXPECT_EQ(window.data()[2 * kPage], std::byte{1});
  if (window.faults() == Faults::none) return;  // a hole that came later refuses stores
  window.data()[kPage + MiB] = std::byte{2};
  EXPECT_EQ(contents(file, kPage + MiB, 1), "\2");
}

// The page that holds the end gets the rest of its blocks: zeros, past the end, and not the file's.
TEST_F(HugePageWindows, TheTailIsCompleted) {
  open();
  const std::string bytes = pattern(3 * MiB + 100);
  File file = settled("/a", bytes);
  EXPECT_LT(allocated(file), 2 * kPage);
  {
    const Window window = file.map(0, 2 * kPage).value();
    EXPECT_EQ(text(window, 0, bytes.size()), bytes);
    EXPECT_TRUE(is_zero(window, bytes.size(), 2 * kPage - bytes.size()));
    EXPECT_EQ(file.size(), bytes.size());
    EXPECT_EQ(allocated(file), 2 * kPage);
    window.data()[bytes.size()] = std::byte{7};  // as with mmap(2): lost
    window.data()[2 * kPage - 1] = std::byte{7};
    file.truncate(2 * kPage).value();
    EXPECT_TRUE(is_zero(window, bytes.size(), 2 * kPage - bytes.size()));
    EXPECT_EQ(contents(file, bytes.size(), kPage), std::string(kPage - bytes.size() % kPage, '\0'));
  }
}

// Somebody else's blocks lie in the rest of the page.
TEST_F(HugePageWindows, AFileThatSharesItsPageIsRefusedByName) {
  open();
  File file = settled("/a", pattern(3 * MiB));
  fill_broken_units();
  const Result<Window> window = file.map(0, 2 * kPage);
  ASSERT_FALSE(window);
  EXPECT_EQ(window.error().code(), EOPNOTSUPP);
  EXPECT_THAT(window.error().message(), HasSubstr("from byte 2097152 on"));
  EXPECT_EQ(file.units().value().in_2m, kPage);
  EXPECT_TRUE(file.map(0, kPage)) << "what is whole can be shown";
}

TEST_F(HugePageWindows, ASmallFileIsRefusedUnlessItsClusterIsThePage) {
  open();
  fill_broken_units();
  {
    File file = make_file("/a", pattern(100 * KiB));
    EXPECT_EQ(file.map(0, kPage).error().code(), EOPNOTSUPP);
  }
  open(kPage);
  File small = make_file("/a", pattern(100 * KiB));
  const std::string more = pattern(100 * KiB);
  small.append(std::as_bytes(std::span(more))).value();
  const Window window = small.map(0, kPage).value();
  EXPECT_EQ(text(window, 0, 100 * KiB), pattern(100 * KiB));
  EXPECT_TRUE(is_zero(window, 200 * KiB, kPage - 200 * KiB));
  EXPECT_EQ(mapped_large(window.bytes()), kPage);
}

// Blocks of a page that is shown stay: the punch writes zeros. Once nothing shows it they go.
TEST_F(HugePageWindows, APunchInAShownPageZeroesAndKeeps) {
  for (const std::uint64_t cluster : {4 * KiB, kPage}) {
    SCOPED_TRACE(cluster);
    open(cluster);
    const std::string bytes = pattern(2 * kPage);
    File file = settled("/a", bytes);
    {
      const Window window = file.map(0, 2 * kPage).value();
      EXPECT_EQ(text(window, 64 * KiB, 4 * KiB), bytes.substr(64 * KiB, 4 * KiB));
      file.punch(64 * KiB, 4 * KiB).value();
      EXPECT_TRUE(is_zero(window, 64 * KiB, 4 * KiB));
      EXPECT_EQ(text(window, 60 * KiB, 4 * KiB), bytes.substr(60 * KiB, 4 * KiB));
      EXPECT_EQ(text(window, 68 * KiB, 4 * KiB), bytes.substr(68 * KiB, 4 * KiB));
      EXPECT_EQ(allocated(file), 2 * kPage);
      window.data()[65 * KiB] = std::byte{3};
      EXPECT_EQ(contents(file, 65 * KiB, 1), "\3");
      // Across the border of two: each keeps its part.
      file.punch(kPage - 8 * KiB, 16 * KiB).value();
      EXPECT_TRUE(is_zero(window, kPage - 8 * KiB, 16 * KiB));
      EXPECT_EQ(allocated(file), 2 * kPage);
      EXPECT_EQ(mapped_large(window.bytes()), 2 * kPage) << "it goes on to be shown in whole pages";
    }
    file.punch(128 * KiB, 4 * KiB).value();
    EXPECT_EQ(allocated(file), cluster == kPage ? 2 * kPage : 2 * kPage - 4 * KiB);
    EXPECT_EQ(contents(file, 128 * KiB, 4 * KiB), std::string(4 * KiB, '\0'));
  }
}

TEST_F(HugePageWindows, ATruncateIntoAShownPageZeroesAndKeeps) {
  open();
  File file = settled("/a", pattern(3 * kPage));
  {
    const Window window = file.map(0, 3 * kPage).value();
    EXPECT_EQ(text(window, 2 * kPage, 10), pattern(3 * kPage).substr(2 * kPage, 10));
    file.truncate(kPage + 100).value();
    EXPECT_EQ(text(window, 0, kPage + 100), pattern(kPage + 100));
    EXPECT_TRUE(is_zero(window, kPage + 100, kPage - 100));
    EXPECT_TRUE(dies_of_bus_error(window.data() + 2 * kPage));
    EXPECT_EQ(allocated(file), 2 * kPage);
  }
}

// A unit of which only a part has blocks cannot be shown: that is said, or a bus error, and never an endless fault.
// An entry is there already, and the touch is of bytes behind the end: nobody's, but of a page that the file has.
TEST_F(HugePageWindows, BehindTheEndOfAPinnedPageIsNoBusError) {
  open();
  File file = settled("/a", pattern(3 * MiB));
  const Pin pin = file.pin(kPage, 1).value();
  for (const ServeFaults faults : {ServeFaults::thread, ServeFaults::in_thread}) {
    Window window = file.map(0, 2 * kPage, {.faults = faults}).value();
    EXPECT_EQ(window.data()[kPage + kPage - 1], std::byte{0});
    EXPECT_EQ(text(window, kPage, MiB), pattern(3 * MiB).substr(kPage, MiB));
    window.populate(kPage + 4 * KiB, kPage - 4 * KiB).value();
  }
}

// A held page that is cut in the middle is replaced by a copy: what nobody has written of the copy shows zeros, and not
// what another file had there. Seen under stress.
TEST_F(HugePageWindows, ACopyOfAHeldPageShowsNothingOfAnotherFile) {
  open(kPage);
  { const File old = make_file("/old", pattern(24 * kPage)); }
  fs().unlink("/old").value();
  static_cast<void>(fs().space());  // the worker has freed it: the commit counts
  fs().sync().value();
  File file = settled("/a", pattern(kPage + 64 * KiB));
  const Window window = file.map(0, 2 * kPage).value();
  const Pin pin = file.pin(kPage, 4 * KiB).value();
  file.truncate(kPage + 8 * KiB, {.on_pinned = OnPinned::detach}).value();
  EXPECT_EQ(text(window, kPage, 8 * KiB), pattern(kPage + 64 * KiB).substr(kPage, 8 * KiB));
  EXPECT_TRUE(is_zero(window, kPage + 8 * KiB, kPage - 8 * KiB));
}

// A page of which only the front is written is brought whole: seen as a map that never returned, on clusters as large
// as the page.
TEST_F(HugePageWindows, APageThatIsWrittenInPartIsShownWhole) {
  open();
  File file = fs().open("/a", Open::read_write | Open::create).value();
  file.allocate(0, 2 * kPage).value();
  const std::string front = pattern(8 * KiB);
  file.write(0, std::as_bytes(std::span(front))).value();
  for (const bool populate : {false, true}) {
    const Window window = file.map(0, 2 * kPage, {.access = Access::read, .populate = populate}).value();
    EXPECT_EQ(text(window, 0, 8 * KiB), pattern(8 * KiB));
    EXPECT_TRUE(is_zero(window, 8 * KiB, kPage - 8 * KiB));
    EXPECT_TRUE(is_zero(window, kPage, kPage));
  }
}

// Breaks that end inside a page leave small entries in it, which end where the file does. The page is shown all the
// same, whoever touches it.
TEST_F(HugePageWindows, ALastPageOfSmallEntriesIsShown) {
  open();
  File file = settled("/a", pattern(3 * MiB));
  const Window window = file.map(0, 2 * kPage).value();
  if (window.faults() == Faults::none) HF_SKIP_CAPABILITY("userfaultfd", "windows take no faults");
  mapping::Mapping& entries = filesystem::file_of(*window::find_and_keep_view(window.data())).inode->mapping;
  const std::vector<ExtentInfo> extents = file.extents().value();
  const auto last = std::find_if(extents.begin(), extents.end(), [](const ExtentInfo& one) {
    return one.offset <= kPage && kPage < one.offset + one.length;
  });
  const Pfn first = Pfn((last->device_offset + (kPage - last->offset)) / kPageBytes);
  for (std::uint64_t page = 0; page < 128; ++page) {
    const PageIndex index(kPage / kPageBytes + page);
    const auto hold = mapping::Hold::enter(entries, {index, index + PageCount(1)}, Deadline::never());
    ASSERT_TRUE(entries.insert(index, first + PageCount(page), kOrder4K, Deadline::never()));
  }
  Task touch([&] {
    window.data()[kPage + 10] = std::byte{'s'};
    return std::to_integer<int>(window.data()[kPage + MiB - 1]);
  });
  EXPECT_EQ(touch.get(), pattern(3 * MiB).back());
  EXPECT_EQ(contents(file, kPage + 10, 1), "s");
  EXPECT_EQ(window.data()[2 * kPage - 1], std::byte{0});
}

TEST_F(HugePageWindows, APartOfAPageIsRefused) {
  open();
  File file = make_file("/a", "");
  file.allocate(0, 3 * MiB, Allocate::keep_size).value();
  Window window = file.map(0, 2 * kPage).value();
  file.truncate(2 * kPage).value();
  const bool refused = dies_of_bus_error(window.data() + kPage);
  if (!refused) {
    EXPECT_EQ(window.data()[kPage], std::byte{0});
  }
}

// Files lie in whole pages of 1 GiB by chance only: then they are shown, else refused.
TEST(GigabytePages, AreShownWholeOrRefused) {
  const HugePages pages(3, GiB);
  if (!pages.missing().empty()) HF_SKIP_CAPABILITY("hugetlb-1g", pages.missing());
  Device device = Device::memory({3 * GiB, PageSize::huge_1g}).value();
  format(device, {}).value();
  Filesystem fs = Filesystem::mount(std::move(device)).value();
  {
    File file = fs.open("/a", Open::read_write | Open::create).value();
    file.allocate(0, GiB).value();
    const UnitReport report = file.units().value();
    EXPECT_EQ(report.in_1g + report.carrier, GiB);
    const Result<Window> window = file.map(0, GiB);
    EXPECT_EQ(window.has_value(), report.in_1g == GiB);
    if (window) {
      window->data()[GiB - 1] = std::byte{1};
      EXPECT_EQ(mapped_large(window->bytes()), GiB);
    } else {
      EXPECT_EQ(window.error().code(), EOPNOTSUPP);
    }
  }
  fs.unmount().value();
}

// The blocks are the file's by then, and are found again.
TEST_F(HugePageWindows, BlocksThatCannotBeZeroedAreNotTakenForAHole) {
  open();
  File file = make_file("/a", pattern(kPage));
  const Window window = map(file, 0, 4 * kPage).value();
  if (window.faults() == Faults::none) HF_SKIP_CAPABILITY("userfaultfd", "map gives every hole its blocks at once");
  fault_point::arm("removal.zero", 1);
  EXPECT_FALSE(file.allocate(2 * kPage, kPage));
  fault_point::disarm_all();
  file.allocate(2 * kPage, kPage).value();
  write(file, 2 * kPage, pattern(kPage));
  EXPECT_EQ(contents(file, 2 * kPage, kPage), pattern(kPage));
  EXPECT_EQ(text(window, 2 * kPage, kPage), pattern(kPage));
}

}  // namespace
}  // namespace holdfast::test
