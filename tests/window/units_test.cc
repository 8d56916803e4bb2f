// Goal: units of 2 MiB are what windows show on every carrier that can, however the file came to be, and what is said
// of them is so. Method: /proc/self/smaps counts what is mapped by one entry; entries are looked up; what
// Filesystem::unit_statistics and File::units report is compared with both.
#include <gtest/gtest.h>
#include <holdfast/holdfast.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/fault_point.h"
#include "filesystem/core.h"
#include "support/hugetlb.h"
#include "support/mark_stop.h"
#include "support/skip.h"
#include "support/smaps.h"
#include "support/task.h"
#include "support/window_bed.h"

namespace holdfast::test {
namespace {

class Units : public WindowBed {
 protected:
  static constexpr std::uint64_t kFile = 64 * MiB;
  static constexpr std::uint64_t kUnit = 2 * MiB;

  static void touch(const Window& window) {
    for (std::uint64_t at = 0; at < window.size(); at += 4 * KiB) window.data()[at] = std::byte{1};
  }
  static std::uint64_t large_entries(const File& file) {
    std::uint64_t count = 0;
    for (std::uint64_t at = 0; at < file.size(); at += kUnit) {
      const mapping::Entry entry = file.impl()->inode->mapping.lookup(page_holding(at));
      if (entry.tracks() && entry.order() == kOrder2M) ++count;
    }
    return count;
  }
  // Whether memory that is kept in small pages can become units here.
  static bool kernel_makes_units() {
    device::MemoryOptions options;
    options.size = 4 * MiB;
    const auto memory = device::Device::create_memory(options);
    return memory && (*memory)->make_unit(Pfn(0)).has_value();
  }
};

enum class Way : std::uint8_t { one_write, appends_of_a_page, long_appends, allocate };

File make(Filesystem& fs, Way way, std::uint64_t size) {
  File file = fs.open("/a", Open::read_write | Open::create).value();
  const auto append = [&](std::uint64_t length) {
    const std::string piece = pattern(length);
    for (std::uint64_t at = 0; at < size; at += length) {
      EXPECT_EQ(file.append(std::as_bytes(std::span(piece))).value(), at);
    }
  };
  switch (way) {
    case Way::one_write:
      write(file, 0, pattern(size));
      break;
    case Way::appends_of_a_page:
      append(4 * KiB);
      break;
    case Way::long_appends:
      append(MiB);
      break;
    case Way::allocate:
      file.allocate(0, size).value();
      break;
  }
  return file;
}

struct Case {
  Carriage carriage;
  Way way;
};

class EveryUnit : public Units, public testing::WithParamInterface<Case> {};

TEST_P(EveryUnit, IsMappedByOneEntry) {
  const auto& [carriage, way] = GetParam();
  std::optional<HugePages> pages;
  if (carriage == Carriage::hugetlb) {
    pages.emplace(48);
    if (!pages->missing().empty()) HF_SKIP_CAPABILITY("hugetlb", pages->missing());
  }
  const bool large_pages = carriage == Carriage::hugetlb;
  open_pool(carriage, large_pages ? 96 * MiB : 256 * MiB);
  File file = make(fs(), way, kFile);
  // A file that begins small begins where small files lie: one unit of it is lost.
  const bool began_small = way == Way::appends_of_a_page || way == Way::long_appends;
  const std::uint64_t lost = began_small ? kUnit : 0;
  if (large_pages && began_small) {
    EXPECT_EQ(file.map(0, kFile).error().code(), EOPNOTSUPP) << "its first unit lies in pieces";
    return;
  }
  const Window window = file.map(0, kFile).value();
  if (window.faults() == Faults::none) HF_SKIP_CAPABILITY("userfaultfd", "windows are mapped by the kernel");
  touch(window);
  EXPECT_EQ(large_entries(file), (kFile - lost) / kUnit);

  const UnitReport lies = file.units().value();
  const UnitReport shown = fs().unit_statistics().windows;
  EXPECT_EQ(lies.in_2m + lies.carrier, kFile - lost);
  EXPECT_EQ(lies.whole_units(), kFile) << "nothing of it is left out";
  EXPECT_EQ(shown.in_2m, lies.in_2m);
  EXPECT_EQ(shown.carrier, lies.carrier);
  const UnitAttempts attempts = fs().unit_statistics().attempts;
  if (lies.carrier != 0 && !kernel_makes_units()) HF_SKIP_CAPABILITY("tmpfs-collapse", "the kernel makes no units");
  EXPECT_EQ(lies.carrier, attempts.refused_busy * kUnit) << "all others were made";
  EXPECT_EQ(mapped_large(window.bytes()), lies.in_2m) << "what is said is so";
  std::uint64_t large_extents = 0;
  const std::vector<ExtentInfo> extents = file.extents().value();
  for (const ExtentInfo& extent : extents) {
    if (extent.unit_max == kUnit) large_extents += extent.length;
    EXPECT_LE(extent.unit_max, kUnit) << "this carrier has no larger ones";
  }
  EXPECT_GE(large_extents, kFile - lost);
}

std::string name_of(const testing::TestParamInfo<Case>& info) {
  static constexpr const char* kWays[] = {"_one_write", "_appends_of_a_page", "_long_appends", "_allocate"};
  return to_string(info.param.carriage) + std::string(kWays[static_cast<int>(info.param.way)]);
}

INSTANTIATE_TEST_SUITE_P(
    Carriers, EveryUnit,
    testing::Values(Case{Carriage::memory, Way::one_write}, Case{Carriage::memory, Way::appends_of_a_page},
                    Case{Carriage::memory, Way::long_appends}, Case{Carriage::memory, Way::allocate},
                    Case{Carriage::tmpfs_file, Way::one_write}, Case{Carriage::tmpfs_file, Way::appends_of_a_page},
                    Case{Carriage::tmpfs_file, Way::allocate}, Case{Carriage::hugetlb, Way::one_write},
                    Case{Carriage::hugetlb, Way::appends_of_a_page}, Case{Carriage::hugetlb, Way::allocate}),
    name_of);

TEST_F(Units, ADiskHasNone) {
  open_pool(Carriage::disk_file, 64 * MiB);
  File file = make_file("/a", "");
  file.allocate(0, 16 * MiB).value();
  EXPECT_EQ(file.units().value().carrier, 16 * MiB);
  EXPECT_EQ(file.extents().value().at(0).unit_max, 4 * KiB);
  EXPECT_EQ(fs().unit_statistics().attempts.made, 0U);
}

// Entries of a file that was pinned while it grew, page by page, become one where the unit is whole.
TEST_F(Units, OfAFileThatIsPinnedWhileItGrows) {
  open_pool(Carriage::memory);
  File file = make_file("/a", "");
  const std::string piece = pattern(4 * KiB);
  for (std::uint64_t at = 0; at < 8 * MiB; at += piece.size()) {
    file.append(std::as_bytes(std::span(piece))).value();
    const Pin pin = file.pin(at, piece.size()).value();
  }
  EXPECT_EQ(large_entries(file), 3U);
}

// The same of a window whose reader follows the writer.
TEST_F(Units, OfAFileThatIsTouchedWhileItGrows) {
  for (const Carriage carriage : {Carriage::memory, Carriage::tmpfs_file}) {
    SCOPED_TRACE(to_string(carriage));
    open_pool(carriage);
    File file = make_file("/a", "");
    const Window window = file.map(0, 8 * MiB).value();
    if (window.faults() == Faults::none) HF_SKIP_CAPABILITY("userfaultfd", "windows are mapped by the kernel");
    const std::string piece = pattern(4 * KiB);
    for (std::uint64_t at = 0; at < 8 * MiB; at += piece.size()) {
      file.append(std::as_bytes(std::span(piece))).value();
      ASSERT_EQ(static_cast<char>(window.data()[at]), piece[0]);
    }
    EXPECT_EQ(large_entries(file), 3U);
    const UnitReport shown = fs().unit_statistics().windows;
    EXPECT_EQ(shown.in_2m + shown.carrier, 6 * MiB);
    EXPECT_EQ(mapped_large(window.bytes()), shown.in_2m);
  }
}

TEST_F(Units, AsTheyComeAreMadeByPopulateAlone) {
  if (!kernel_makes_units()) HF_SKIP_CAPABILITY("tmpfs-collapse", "the kernel makes no units");
  open_pool(Carriage::tmpfs_file, 64 * MiB, {.units = holdfast::Units::as_they_come});
  File file = make(fs(), Way::one_write, 16 * MiB);
  if (file.units().value().carrier == 0) HF_SKIP_CAPABILITY("small-tmpfs", "this tmpfs makes units by itself");
  EXPECT_EQ(fs().unit_statistics().attempts.made, 0U);
  Window window = file.map(0, 16 * MiB).value();
  if (window.faults() == Faults::none) HF_SKIP_CAPABILITY("userfaultfd", "windows are mapped by the kernel");
  touch(window);
  EXPECT_EQ(mapped_large(window.bytes()), 0U);
  EXPECT_EQ(fs().unit_statistics().windows.carrier, 16 * MiB);
  window.populate(1 * MiB, 5 * MiB).value();
  EXPECT_EQ(fs().unit_statistics().attempts.made, 2U) << "of the whole ones";
  EXPECT_EQ(mapped_large(window.bytes()), 4 * MiB);
  EXPECT_EQ(text(window, 3 * MiB + 1, 100), contents(file, 3 * MiB + 1, 100));
}

// Nobody fails because memory is in pieces.
TEST_F(Units, ARefusalIsCountedAndNobodysError) {
  if (!kernel_makes_units()) HF_SKIP_CAPABILITY("tmpfs-collapse", "the kernel makes no units");
  open_pool(Carriage::tmpfs_file, 64 * MiB);
  File file = make_file("/a", "");
  fault_point::arm("device.make_unit", 1, 4);
  file.allocate(0, 8 * MiB).value();
  fault_point::disarm_all();
  if (file.units().value().carrier == 0) HF_SKIP_CAPABILITY("small-tmpfs", "this tmpfs makes units by itself");
  EXPECT_EQ(fs().unit_statistics().attempts.refused_memory, 4U);
  EXPECT_EQ(file.units().value().carrier, 8 * MiB);
  Window window = file.map(0, 8 * MiB).value();
  touch(window);
  EXPECT_EQ(fs().unit_statistics().windows.carrier, 8 * MiB);
  if (window.faults() == Faults::none) return;
  window.populate(0, 8 * MiB).value();
  EXPECT_EQ(fs().unit_statistics().attempts.made, 4U) << "what was refused is asked for again";
  EXPECT_EQ(mapped_large(window.bytes()), 8 * MiB);
}

// Either/or of the maker and a break: inside its hold the blocks stay the file's, or in quarantine.
TEST_F(Units, ABlockIsNobodyElsesWhileAUnitIsMade) {
  if (!kernel_makes_units()) HF_SKIP_CAPABILITY("tmpfs-collapse", "the kernel makes no units");
  open_pool(Carriage::tmpfs_file, 64 * MiB);
  File file = make_file("/a", "");
  MarkStop stop("units.make");
  Task<int> maker([&file] { return file.allocate(0, 4 * MiB).has_value() ? 0 : 1; });
  if (fs().core().device().geometry().makes_units)
    HF_SKIP_CAPABILITY("small-tmpfs", "this tmpfs makes units by itself");
  ASSERT_TRUE(stop.wait_until_stopped());
  file.truncate(0, {.on_pinned = OnPinned::detach}).value();
  EXPECT_EQ(fs().space().quarantined, kUnit);
  stop.go_on();
  EXPECT_EQ(maker.get(), 0);
  EXPECT_EQ(fs().space().quarantined, 0U);
}

TEST_F(Units, SmallFilesPayNothing) {
  open_pool(Carriage::tmpfs_file, 64 * MiB);
  for (int i = 0; i < 32; ++i) make_file("/" + std::to_string(i), pattern(256 * KiB));
  const UnitAttempts attempts = fs().unit_statistics().attempts;
  EXPECT_EQ(attempts.made + attempts.refused_busy + attempts.refused_memory + attempts.refused_unsupported, 0U);
}

// Each reason is told from the others.
TEST_F(Units, WhatIsMissedIsSaidByReason) {
  open_pool(Carriage::memory, 64 * MiB);
  File holes = make_file("/holes", "");
  holes.allocate(0, 8 * MiB).value();
  holes.punch(2 * MiB + 64 * KiB, 64 * KiB).value();
  EXPECT_EQ(holes.units().value().holes, 2 * MiB - 64 * KiB);
  holes.truncate(7 * MiB).value();
  EXPECT_EQ(holes.units().value().file_end, 1 * MiB);

  const UnitReport all = fs().unit_statistics().windows;
  EXPECT_EQ(all.whole_units() + all.window_edge + all.untouched, 0U) << "there are no windows";
  File file = make_file("/windows", "");
  file.allocate(0, 8 * MiB).value();
  Window window = file.map(1 * MiB, 7 * MiB).value();
  if (window.faults() == Faults::none) HF_SKIP_CAPABILITY("userfaultfd", "windows are mapped by the kernel");
  window.data()[5 * MiB] = std::byte{1};  // of the fourth unit
  const UnitReport shown = fs().unit_statistics().windows;
  EXPECT_EQ(shown.window_edge, 1 * MiB);
  EXPECT_EQ(shown.in_2m + shown.carrier + shown.small_entries, 2 * MiB);
  EXPECT_EQ(shown.untouched, 4 * MiB);
  window.unmap(5 * MiB + 64 * KiB, 4 * KiB).value();
  EXPECT_EQ(fs().unit_statistics().windows.window_edge, 3 * MiB);
}

}  // namespace
}  // namespace holdfast::test
