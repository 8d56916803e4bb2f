// Goal: a pin keeps its pages whatever becomes of the window that it was taken through: R4. The window's end and the
// truncate's removal of translations meet in either order, and in the middle of each other.
// Method: ext4 pools; pins of the file and by address; marks stop the end of the window, or the truncate.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <optional>
#include <vector>

#include "race/file_race.h"
#include "support/mark_stop.h"
#include "support/skip.h"
#include "support/task.h"
#include "support/window_bed.h"

namespace holdfast::test {
namespace {

class WindowEnd : public FileRace {
 protected:
  static constexpr std::uint64_t kBytes = 256 * KiB;
  static constexpr std::uint64_t kAt = 128 * KiB;

  File make() { return make_file("/file", kBytes); }
  Pin pin(File& file, const Window& window, bool by_address) {
    const PinOptions options{.access = Access::write};
    return (by_address ? fs().pin_address(window.data() + kAt, kPage, options) : file.pin(kAt, kPage, options)).value();
  }
};

// The window goes before the truncate begins, or while it waits for the pin: the pin is all that counts.
TEST_F(WindowEnd, R4_APinHoldsWhenItsWindowIsGone) {
  for (const bool by_address : {false, true}) {
    for (const bool before : {true, false}) {
      SCOPED_TRACE(by_address ? "by address" : "of the file");
      SCOPED_TRACE(before ? "gone before" : "goes meanwhile");
      File file = make();
      std::optional<Window> window = file.map(0, kBytes).value();
      Pin held = pin(file, *window, by_address);
      if (before) window.reset();
      MarkCount sleeps("layout.break.sleeps");
      std::atomic<bool> released{false};
      Task cutting([&] {
        const int code = code_of(file.truncate(0));
        return std::pair(code, released.load());
      });
      ASSERT_TRUE(sleeps.wait_until(1)) << "a pin without a window was not seen";
      window.reset();
      EXPECT_EQ(file.size(), kBytes);
      EXPECT_EQ(text_of(held), std::string(kPage, 'x'));
      write_to(held, 'd');
      EXPECT_EQ(text_of(file, kAt, 2), "dd") << "its pages are still the file's";
      released = true;
      held.release();
      EXPECT_EQ(cutting.get(), std::pair(0, true));
      EXPECT_EQ(references(), 0U);
    }
  }
}

// A pin by address finds the page absent and brings it, while the window ends on another part of its way, or while the
// file is cut: it has the page, or says why not.
TEST_F(WindowEnd, R4_APinByAddressMeetsATruncate) {
  for (const bool pin_first : {true, false}) {
    SCOPED_TRACE(pin_first);
    File file = make();
    const Window window = file.map(0, kBytes).value();
    // Without faults map has tracked everything, and the pin has no second look to be stopped before.
    if (!pin_first && window.faults() == Faults::none) continue;
    MarkStop stop(pin_first ? "pin.counted" : "pin.absent");
    Task pinner([&] { return fs().pin_address(window.data() + kAt, kPage, {.access = Access::write}); });
    ASSERT_TRUE(stop.wait_until_stopped());
    MarkCount sleeps("layout.break.sleeps");
    Task cutting([&] { return code_of(file.truncate(0)); });
    if (pin_first) {
      ASSERT_TRUE(sleeps.wait_until(1));
      stop.go_on();
      Result<Pin> held = pinner.get();
      ASSERT_EQ(code_of(held), 0);
      EXPECT_EQ(text_of(*held), std::string(kPage, 'x'));
      held->release();
      EXPECT_EQ(cutting.get(), 0);
    } else {
      EXPECT_EQ(cutting.get(), 0);
      stop.go_on();
      EXPECT_EQ(code_of(pinner.get()), ENXIO);
    }
    EXPECT_EQ(references(), 0U);
  }
}

// The truncate is about to take the translations of a window that ends; and the window is about to end when the
// truncate comes. Each of them is done once, and nothing of the file is shown after.
TEST_F(WindowEnd, R4_TheEndOfAWindowMeetsTheZap) {
  {  // the truncate has the windows' lock
    File file = make();
    std::optional<Window> window = file.map(0, kBytes).value();
    if (window->faults() == Faults::none) HF_SKIP_CAPABILITY("userfaultfd", "windows take no faults");
    const Window other = file.map(0, kBytes).value();
    EXPECT_EQ(std::to_integer<char>(other.data()[kAt]), 'x');
    MarkStop zap("window.zap");
    Task cutting([&] { return code_of(file.truncate(kAt)); });
    ASSERT_TRUE(zap.wait_until_stopped());
    MarkCount closing("window.closing");
    Task ending([&] {
      window.reset();
      return true;
    });
    ASSERT_TRUE(closing.wait_until(1));
    zap.go_on();
    EXPECT_EQ(cutting.get(), 0);
    EXPECT_TRUE(ending.get());
    EXPECT_TRUE(dies_of_bus_error(other.data() + kAt));
    EXPECT_EQ(std::to_integer<char>(other.data()[0]), 'x');
  }
  {  // the window is on its way out, and listed still
    File file = make();
    std::optional<Window> window = file.map(0, kBytes).value();
    const std::byte* const at = window->data();
    MarkStop closing("window.closing");
    Task ending([&] {
      window.reset();
      return true;
    });
    ASSERT_TRUE(closing.wait_until_stopped());
    EXPECT_EQ(code_of(file.truncate(kAt)), 0);
    EXPECT_FALSE(ending.done());
    closing.go_on();
    EXPECT_TRUE(ending.get());
    EXPECT_TRUE(dies_of_segmentation(at));
    EXPECT_EQ(text_of(file, 0, 2), "xx");
    file.truncate(0).value();
    EXPECT_EQ(references(), 0U);
  }
}

// The service has read a touch that somebody else serves before it looks; when it does, a window of the other service
// stands at the address. It is not its own.
TEST_F(WindowEnd, AnOldTouchMeetsAWindowOfTheOtherService) {
  File file = make();
  file.pin(kAt, kPage).value();  // an entry: the service can serve it at once
  const auto touch = [](const std::byte* at) {
    return std::to_integer<char>(*const_cast<const volatile std::byte*>(at));
  };
  std::vector<Window> others;
  bool met = false;
  // Where the kernel puts a window is the kernel's: mostly where the last one was.
  for (int i = 0; i < 100 && !met; ++i) {
    std::optional<Window> window = file.map(0, kBytes).value();
    if (window->faults() == Faults::none) HF_SKIP_CAPABILITY("userfaultfd", "windows take no faults");
    const std::byte* const place = window->data();
    MarkStop stop("window.touch_read");
    Task toucher([&] { return touch(place + kAt); });
    ASSERT_TRUE(stop.wait_until_stopped());
    window->populate(0, kBytes).value();
    EXPECT_EQ(toucher.get(), 'x');
    window.reset();
    others.push_back(file.map(0, kBytes, {.faults = ServeFaults::in_thread}).value());
    met = others.back().data() == place;
    stop.go_on();
    // The next touch is served by the same thread: it lives.
    const Window next = file.map(0, kBytes).value();
    EXPECT_EQ(touch(next.data() + kAt), 'x');
  }
  EXPECT_TRUE(met) << "the test shows nothing";
}

}  // namespace
}  // namespace holdfast::test
