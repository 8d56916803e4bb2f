// Goal: a window shows a bus error where memory is lost, and everything else as before; when the page is punched it is
// a hole like any other. Method: every carrier and both ways of serving; pages that were touched and such that were
// not.
#include <gtest/gtest.h>
#include <holdfast/holdfast.h>

#include <cerrno>
#include <cstdint>
#include <string>

#include "support/hugetlb.h"
#include "support/skip.h"
#include "support/window_bed.h"

namespace holdfast::test {
namespace {

class PoisonWindow : public WindowBed, public ::testing::WithParamInterface<Showing> {
 protected:
  void SetUp() override {
    if (GetParam().carriage == Carriage::hugetlb && !pages_.missing().empty()) {
      HF_SKIP_CAPABILITY("hugetlb", pages_.missing());
    }
    serve_faults(GetParam().faults);
    open_pool(GetParam().carriage, 64 * MiB, {}, {.cluster = grain()});
  }
  void TearDown() override { close_pool(); }
  File whole_file(std::uint64_t length) {
    File file = fs().open("/a", Open::read_write | Open::create).value();
    file.allocate(0, length).value();
    write(file, 0, pattern(length));
    return file;
  }
  void lose(const File& file, std::uint64_t offset) {
    const std::vector<ExtentInfo> extents = file.extents().value();
    for (const ExtentInfo& extent : extents) {
      if (extent.offset > offset || offset >= extent.offset + extent.length) continue;
      fs().poison(extent.device_offset + (offset - extent.offset), 1).value();
    }
  }

  const HugePages pages_{32};
};

TEST_P(PoisonWindow, AnUntouchedAndATouchedPageBecomeBusErrors) {
  const std::uint64_t unit = grain();
  File file = whole_file(8 * unit);
  const Window window = map(file, 0, 8 * unit).value();
  const std::string before = contents(file, 0, 8 * unit);
  EXPECT_EQ(text(window, 2 * unit, 10), before.substr(2 * unit, 10));
  lose(file, 2 * unit);
  lose(file, 6 * unit);
  for (const std::uint64_t lost : {2 * unit, 6 * unit}) {
    EXPECT_TRUE(dies_of_bus_error(window.data() + lost));
    EXPECT_TRUE(store_dies_of_bus_error(window.data() + lost + unit - 1));
    EXPECT_EQ(system_call_reads(window.data() + lost), EFAULT);
  }
  for (const std::uint64_t kept : {0 * unit, 1 * unit, 3 * unit, 5 * unit, 7 * unit}) {
    EXPECT_EQ(text(window, kept, 100), before.substr(kept, 100));
    window.data()[kept + 50] = std::byte{'s'};
    EXPECT_EQ(contents(file, kept + 50, 1), "s");
  }
}

// Where nothing tells of touches it shows blocks that no entry tracks.
TEST_P(PoisonWindow, AWindowForReadingToo) {
  const std::uint64_t unit = grain();
  File file = whole_file(4 * unit);
  const Window window = map(file, 0, 4 * unit, {.access = Access::read}).value();
  const std::string before = contents(file, 0, 4 * unit);
  EXPECT_EQ(text(window, unit, 10), before.substr(unit, 10));
  lose(file, unit);
  EXPECT_TRUE(dies_of_bus_error(window.data() + unit));
  EXPECT_EQ(text(window, 0, 10), before.substr(0, 10));
  EXPECT_EQ(text(window, 2 * unit, 2 * unit), before.substr(2 * unit, 2 * unit));
}

TEST_P(PoisonWindow, AWindowMadeAfterwardsShowsTheRest) {
  const std::uint64_t unit = grain();
  File file = whole_file(4 * unit);
  lose(file, unit);
  Window window = map(file, 0, 4 * unit).value();
  EXPECT_TRUE(dies_of_bus_error(window.data() + unit));
  EXPECT_EQ(text(window, 2 * unit, 100), contents(file, 2 * unit, 100));
  EXPECT_EQ(text(window, 0, 100), contents(file, 0, 100));
  if (window.faults() == Faults::none) return;  // map brought what there is
  const Status populated = window.populate(0, 4 * unit);
  ASSERT_FALSE(populated);
  EXPECT_EQ(populated.error().code(), EHWPOISON);
}

TEST_P(PoisonWindow, APunchedPageIsAHole) {
  const std::uint64_t unit = grain();
  File file = whole_file(4 * unit);
  const Window window = map(file, 0, 4 * unit).value();
  lose(file, unit);
  EXPECT_TRUE(dies_of_bus_error(window.data() + unit));
  file.punch(unit, unit).value();
  if (window.faults() != Faults::none) {
    EXPECT_EQ(text(window, unit, 10), std::string(10, '\0'));
    window.data()[unit] = std::byte{'n'};
  } else {
    write(file, unit, "n");
  }
  EXPECT_EQ(contents(file, unit, 2), std::string("n\0", 2));
  EXPECT_EQ(text(window, unit, 2), std::string("n\0", 2));
}

// A unit of 2 MiB that is one translation, with one entry.
TEST_P(PoisonWindow, OfAUnitOnePageIsLost) {
  if (grain() != 4 * KiB) return;  // there a page is the unit
  File file = whole_file(4 * MiB);
  const Window window = map(file, 0, 4 * MiB, {.populate = true}).value();
  const std::string before = contents(file, 0, 4 * MiB);
  const std::uint64_t lost = 2 * MiB + 77 * 4 * KiB;
  lose(file, lost);
  EXPECT_TRUE(dies_of_bus_error(window.data() + lost));
  EXPECT_EQ(text(window, 2 * MiB, 77 * 4 * KiB), before.substr(2 * MiB, 77 * 4 * KiB));
  EXPECT_EQ(text(window, lost + 4 * KiB, MiB), before.substr(lost + 4 * KiB, MiB));
  EXPECT_EQ(text(window, 0, 2 * MiB), before.substr(0, 2 * MiB));
  const Pin beside = file.pin(lost - 4 * KiB, 4 * KiB).value();
  EXPECT_FALSE(file.pin(lost, 4 * KiB));
}

INSTANTIATE_TEST_SUITE_P(Every, PoisonWindow, ::testing::ValuesIn(kEveryShowing),
                         [](const auto& parameter) { return to_string(parameter.param); });

}  // namespace
}  // namespace holdfast::test
