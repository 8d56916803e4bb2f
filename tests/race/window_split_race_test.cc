// Goal: a window that shows units and loses its middle (munmap of a part), or is inherited by a forked child, beside a
// truncate or a touch: R14. What was given up shows nothing and never comes back, what is left shows the file, and
// neither a split nor a child changes a count.
// Method: files of two written units; marks stop the truncate or the touch, the window is split or the process forked,
// and the reverse.
#include <gtest/gtest.h>

#include <cerrno>
#include <optional>
#include <string>

#include "race/file_race.h"
#include "support/child.h"
#include "support/mark_stop.h"
#include "support/skip.h"
#include "support/task.h"
#include "support/window_bed.h"

namespace holdfast::test {
namespace {

class WindowSplit : public FileRace, public ::testing::WithParamInterface<ServeFaults> {
 protected:
  static constexpr std::uint64_t kBytes = 4 * MiB;
  // [1 MiB, 3 MiB) is given up: half of each unit.
  static constexpr std::uint64_t kHole = MiB;
  static constexpr std::uint64_t kHoleBytes = 2 * MiB;
  static constexpr std::uint64_t kRight = kHole + kHoleBytes;

  void SetUp() override {
    FileRace::SetUp();
    file_.emplace(make_file("/file"));
    file_->allocate(0, kBytes).value();
    file_->write(0, bytes(kBytes, 'x')).value();
    open_window();
    if (window().faults() == Faults::none) HF_SKIP_CAPABILITY("userfaultfd", "windows take no faults");
  }
  void TearDown() override {
    window_.reset();
    file_->truncate(0).value();
    EXPECT_EQ(references(), 0U);
    file_.reset();
    FileRace::TearDown();
  }
  void open_window() { window_.emplace(file_->map(0, kBytes, {.faults = GetParam()}).value()); }
  File& file() { return *file_; }
  Window& window() { return *window_; }
  std::byte* at(std::uint64_t offset) { return window_->data() + offset; }
  char load(std::uint64_t offset) {
    return std::to_integer<char>(*const_cast<const volatile std::byte*>(window_->data() + offset));
  }
  void touch_both_units() {
    EXPECT_EQ(load(0), 'x');
    EXPECT_EQ(load(kRight + 512 * KiB), 'x');
    EXPECT_EQ(entry_of(file(), 0).order(), kOrder2M);
    EXPECT_EQ(references(), 2U);
  }
  int split() { return code_of(window().unmap(kHole, kHoleBytes)); }
  int cut() { return code_of(file().truncate(512 * KiB)); }
  void expect_split_and_cut() {
    EXPECT_EQ(load(100 * KiB), 'x');
    EXPECT_TRUE(dies_of_bus_error(at(700 * KiB)));
    EXPECT_TRUE(dies_of_segmentation(at(kHole)));
    EXPECT_TRUE(dies_of_segmentation(at(kRight - 1)));
    EXPECT_TRUE(dies_of_bus_error(at(kRight)));
    // What comes back to the file is shown where the window is left, and nowhere else.
    file().write(kRight, bytes(kPage, 'n')).value();
    EXPECT_EQ(load(kRight), 'n');
    EXPECT_EQ(load(900 * KiB), '\0');
    EXPECT_TRUE(dies_of_segmentation(at(kRight - 1)));
  }

 private:
  std::optional<File> file_;
  std::optional<Window> window_;
};

TEST_P(WindowSplit, R14_TheSplitComesBeforeTheTruncateOrAfter) {
  for (const bool split_first : {true, false}) {
    SCOPED_TRACE(split_first);
    touch_both_units();
    EXPECT_EQ(split_first ? split() : cut(), 0);
    EXPECT_EQ(split_first ? cut() : split(), 0);
    expect_split_and_cut();
    file().write(0, bytes(kBytes, 'x')).value();
    file().truncate(0).value();
    file().allocate(0, kBytes).value();
    file().write(0, bytes(kBytes, 'x')).value();
    open_window();
  }
}

// The truncate is taking the translations of the units: the split waits for its lock.
TEST_P(WindowSplit, R14_TheSplitMeetsTheZap) {
  touch_both_units();
  MarkStop zap("window.zap");
  Task cutting([&] { return cut(); });
  ASSERT_TRUE(zap.wait_until_stopped());
  Task splitting([&] { return split(); });
  zap.go_on();
  EXPECT_EQ(cutting.get(), 0);
  EXPECT_EQ(splitting.get(), 0);
  expect_split_and_cut();
}

// The blocks are out of the file, and the windows not refreshed yet: the refresh passes over what was given up.
TEST_P(WindowSplit, R14_TheSplitComesBeforeTheRefresh) {
  touch_both_units();
  MarkStop out("removal.blocks_are_out");
  Task cutting([&] { return cut(); });
  ASSERT_TRUE(out.wait_until_stopped());
  EXPECT_EQ(split(), 0);
  out.go_on();
  EXPECT_EQ(cutting.get(), 0);
  expect_split_and_cut();
}

// The truncate waits for a pin of what is given up: the pin is no window's, and goes on counting.
TEST_P(WindowSplit, R14_TheSplitOfAPinnedPart) {
  touch_both_units();
  std::optional<Pin> pin = fs().pin_address(at(2 * MiB), kPage, {.access = Access::write}).value();
  MarkCount sleeps("layout.break.sleeps");
  Task cutting([&] { return cut(); });
  ASSERT_TRUE(sleeps.wait_until(1));
  EXPECT_EQ(split(), 0);
  EXPECT_EQ(code_of(fs().pin_address(at(2 * MiB), kPage)), EFAULT);
  EXPECT_EQ(file().size(), kBytes);
  EXPECT_EQ(text_of(*pin), std::string(kPage, 'x'));
  pin.reset();
  EXPECT_EQ(cutting.get(), 0);
  expect_split_and_cut();
}

// A touch of the right half of a unit is on its way when the left half is given up: it brings its own half only.
TEST_P(WindowSplit, R14_TheSplitMeetsATouch) {
  MarkStop serve("window.try_serve");
  Task toucher([&] { return load(kRight + 4 * kPage); });
  ASSERT_TRUE(serve.wait_until_stopped());
  EXPECT_EQ(split(), 0);
  serve.go_on();
  EXPECT_EQ(toucher.get(), 'x');
  EXPECT_EQ(entry_of(file(), kRight).order(), kOrder2M);
  EXPECT_TRUE(dies_of_segmentation(at(kRight - 1))) << "the touch brought back what was given up";
  EXPECT_TRUE(dies_of_segmentation(at(2 * MiB)));
  EXPECT_EQ(load(kRight), 'x');
  EXPECT_EQ(cut(), 0);
  expect_split_and_cut();
}

// A process forked in each step of a truncate: the child sees no window and its end changes nothing; the parent's
// truncate and windows go on as if there were no child.
TEST_P(WindowSplit, R14_AChildIsForkedInTheMiddleOfATruncate) {
  for (const char* const step :
       {"layout.break.sleeps", "truncate.stage_2", "window.zap", "layout.commit.zapped", "removal.blocks_are_out"}) {
    SCOPED_TRACE(step);
    touch_both_units();
    std::optional<Pin> pin = file().pin(2 * MiB, kPage, {.access = Access::write}).value();
    MarkCount sleeps("layout.break.sleeps");
    MarkStop stop(step);
    Task cutting([&] { return cut(); });
    ASSERT_TRUE(sleeps.wait_until(1));
    const bool waits = std::string(step) == "layout.break.sleeps";
    if (!waits) pin.reset();
    ASSERT_TRUE(stop.wait_until_stopped());
    const ChildEnd child = run_in_child([&]() -> std::string {
      if (!dies_of_segmentation(at(0)) || !dies_of_segmentation(at(kRight))) return "the child has the window";
      if (pin) pin->release();  // inert: it is the parent's
      if (code_of(file().truncate(0)) != ECHILD) return "the child has the file";
      return {};
    });
    EXPECT_TRUE(child.exited && child.status == 0) << child.message;
    if (waits) {
      EXPECT_EQ(refcount_of(file(), 2 * MiB), 2U) << "the child took the parent's pin, or reference";
      pin.reset();
    }
    stop.go_on();
    EXPECT_EQ(cutting.get(), 0);
    EXPECT_EQ(load(100 * KiB), 'x');
    EXPECT_TRUE(dies_of_bus_error(at(kRight)));
    file().truncate(0).value();
    EXPECT_EQ(references(), 0U);
    file().allocate(0, kBytes).value();
    file().write(0, bytes(kBytes, 'x')).value();
  }
}

INSTANTIATE_TEST_SUITE_P(Served, WindowSplit, ::testing::Values(ServeFaults::thread, ServeFaults::in_thread),
                         [](const auto& each) { return each.param == ServeFaults::thread ? "thread" : "in_thread"; });

}  // namespace
}  // namespace holdfast::test
