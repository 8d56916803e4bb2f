// Goal: the end of a raw device beside a fault, an entry, a pin, a window's beginning and end, and the last unpin (R17
// of the kernel's race catalogue, in each unit size): whoever comes first, nothing is shown, counted or touched
// afterwards. Method: marks stop one side in the middle, the other side runs; then the reverse.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <thread>
#include <vector>

#include "support/mark_stop.h"
#include "support/task.h"
#include "unit/devdax/raw_bed.h"

namespace holdfast::devdax {
namespace {

using test::MarkCount;
using test::MarkStop;
using test::Task;

class RawRace : public RawBed, public ::testing::WithParamInterface<RawSetting> {
 protected:
  void SetUp() override { open(GetParam()); }
  int removed() { return code_of(remove()); }
  void expect_unused() {
    EXPECT_EQ(core()->pages().references(), 0U);
    EXPECT_EQ(count(0).refcount(), 0U);
    EXPECT_EQ(core()->mapping().entry_pages(), PageCount(0));
  }
  // Where the carrier is a file, it opens again and counts from nothing.
  void rebind() {
    if (setting().carriage != Carriage::tmpfs_file && setting().carriage != Carriage::disk_file) return;
    open_again();
    EXPECT_EQ(core()->pages().references(), 0U);
    const Shown window = show(0, unit_bytes());
    window.data()[0] = std::byte{1};
    EXPECT_EQ(count(0).tracked(), 1U);
    EXPECT_TRUE(pin_at(0, 1));
  }
  // A pin that found the device open is stopped at the mark when the gate is closed; then `end` lets the end go on.
  template <typename End>
  void late_pin(const char* mark, End end) {
    SCOPED_TRACE(mark);
    ASSERT_TRUE(pin_at(0, 1));
    MarkStop late("devdax.pins");
    Task pinner([&] { return code_of(pin_at(0, 1)); });
    ASSERT_TRUE(late.wait_until_stopped());
    MarkStop gated("devdax.gated");
    Task remover([&] { return removed(); });
    ASSERT_TRUE(gated.wait_until_stopped());
    MarkStop stopped(mark);
    late.go_on();
    ASSERT_TRUE(stopped.wait_until_stopped());
    end(gated);
    stopped.go_on();
    EXPECT_EQ(pinner.get(), ENODEV);
    EXPECT_EQ(remover.get(), 0);
    expect_unused();
  }
};

INSTANTIATE_TEST_SUITE_P(Everywhere, RawRace, testing::ValuesIn(kRawSettings),
                         [](const auto& each) { return name_of(each.param); });

#define SKIP_WITHOUT_FAULTS(window) \
  if (!(window).takes_faults()) HF_SKIP_CAPABILITY("userfaultfd", "windows take no faults")

TEST_P(RawRace, R17_RemoveMeetsFault) {
  {  // the fault is inside its hold, about to install: the end waits for it, and takes away what it installed
    const Shown window = show(0, unit_bytes());
    SKIP_WITHOUT_FAULTS(window);
    MarkStop installs("window.install");
    Task toucher([&] { return test::dies_of_bus_error(window.data() + 100); });
    ASSERT_TRUE(installs.wait_until_stopped());
    MarkCount waits("mapping.gate.waits");
    MarkCount gated("devdax.gated");
    Task remover([&] { return removed(); });
    ASSERT_TRUE(waits.wait_until(1));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(gated.passings(), 0U) << "the end went on beside a fault";
    installs.go_on();
    static_cast<void>(toucher.get());  // in time, or not
    EXPECT_EQ(remover.get(), 0);
    expect_dead(window.data() + 100);
    expect_unused();
  }
  rebind();
}

TEST_P(RawRace, R17_FaultMeetsRemove) {
  for (const char* const where : {"devdax.closed", "devdax.gated"}) {
    SCOPED_TRACE(where);
    open(GetParam());
    const Shown window = show(0, unit_bytes());
    SKIP_WITHOUT_FAULTS(window);
    MarkStop stop(where);
    Task remover([&] { return removed(); });
    ASSERT_TRUE(stop.wait_until_stopped());
    // The device is closed and the window still shows it: the touch finds nothing, and waits for nobody.
    EXPECT_TRUE(test::dies_of_bus_error(window.data() + 100));
    EXPECT_EQ(count(0).refcount(), 0U);
    stop.go_on();
    EXPECT_EQ(remover.get(), 0);
    expect_dead(window.data() + 100);
    expect_unused();
  }
  rebind();
}

// The helper asks the device whether the memory is one unit, before it makes the entry: the end waits for the look.
TEST_P(RawRace, R17_RemoveMeetsTheLookAtTheUnit) {
  {
    const Shown window = show(0, unit_bytes());
    SKIP_WITHOUT_FAULTS(window);
    if (unit_bytes() < kOrder2M.pages().bytes() || window.view().grain() > PageCount(1)) return;  // nobody looks
    MarkStop looks("window.looks_at_unit");
    Task helper([&] {
      window.view().file().serve(window.view(), {window.data(), true, false});
      return 0;
    });
    ASSERT_TRUE(looks.wait_until_stopped());
    MarkCount waits("mapping.gate.waits");
    MarkCount draining("devdax.draining");
    Task remover([&] { return removed(); });
    EXPECT_TRUE(waits.wait_until(1));
    EXPECT_EQ(draining.passings(), 0U) << "the memory goes under a look at it";
    looks.go_on();
    EXPECT_EQ(helper.get(), 0);
    EXPECT_EQ(remover.get(), 0);
    expect_dead(window.data() + 100);
    expect_unused();
  }
  rebind();
}

TEST_P(RawRace, R17_RemoveMeetsEntry) {
  {  // the association is being made when the device closes: closing waits for it, and the zap undoes it
    MarkStop tracking("pagemap.tracking");
    Task pinner([&] { return code_of(pin_at(0, 1)); });
    ASSERT_TRUE(tracking.wait_until_stopped());
    MarkCount closed("devdax.closed");
    Task remover([&] { return removed(); });
    EXPECT_EQ(closed.passings(), 0U);
    tracking.go_on();
    const int code = pinner.get();  // the pin is given back at once, if it came in time
    EXPECT_TRUE(code == 0 || code == ENODEV) << code;
    EXPECT_EQ(remover.get(), 0);
    expect_unused();
  }
  open(GetParam());
  {  // closed before the association: refused, and the entry that was to hold it is none
    MarkStop held("devdax.held");
    Task pinner([&] { return code_of(pin_at(0, 1)); });
    ASSERT_TRUE(held.wait_until_stopped());
    MarkCount waits("mapping.gate.waits");
    Task remover([&] { return removed(); });
    ASSERT_TRUE(waits.wait_until(1)) << "the end did not wait for the hold";
    held.go_on();
    EXPECT_EQ(pinner.get(), ENODEV);
    EXPECT_EQ(remover.get(), 0);
    expect_unused();
  }
  rebind();
}

// Closing waits for pins on their way, as they are inside an epoch; but one that found the device open may begin late.
TEST_P(RawRace, R17_RemoveMeetsPin) {
  {  // the pin counts first: it is granted, and waited for
    ASSERT_TRUE(pin_at(0, 1));
    MarkStop counted("mapping.pin.counted");
    Task pinner([&] { return pin_at(0, 1, "", true); });
    ASSERT_TRUE(counted.wait_until_stopped());
    MarkCount sleeps("layout.break.sleeps");
    Task remover([&] { return removed(); });
    counted.go_on();
    Result<Pin> held = pinner.get();
    ASSERT_TRUE(held);
    ASSERT_TRUE(sleeps.wait_until(1));
    EXPECT_FALSE(remover.done());
    held->release();
    EXPECT_EQ(remover.get(), 0);
    expect_unused();
  }
  open(GetParam());
  // It counts behind the closing and before the zap, and verifies behind: the end waits for it to be undone.
  late_pin("mapping.pin.counted", [](MarkStop& gated) {
    MarkCount sleeps("layout.break.sleeps");
    gated.go_on();
    ASSERT_TRUE(sleeps.wait_until(1));
  });
  open(GetParam());
  // It found the entry, and counts behind the zap: refused, and the end waits for nobody.
  late_pin("mapping.pin.found", [](MarkStop& gated) {
    MarkCount draining("devdax.draining");
    gated.go_on();
    ASSERT_TRUE(draining.wait_until(1));
  });
  rebind();
}

TEST_P(RawRace, MapMeetsRemove) {
  MarkStop maps("devdax.maps");
  Task mapper([&] { return code_of(try_map(0, unit_bytes())); });
  ASSERT_TRUE(maps.wait_until_stopped());
  EXPECT_EQ(removed(), 0);
  maps.go_on();
  EXPECT_EQ(mapper.get(), ENODEV);
  EXPECT_TRUE(core()->windows().empty());
  expect_unused();
}

TEST_P(RawRace, RemoveMeetsTheEndOfAWindow) {
  {  // the window is ending while the device goes
    Shown window = show(0, unit_bytes());
    MarkStop closing("window.closing");
    Task ender([&] {
      window.end();
      return 0;
    });
    ASSERT_TRUE(closing.wait_until_stopped());
    EXPECT_EQ(removed(), 0);
    closing.go_on();
    EXPECT_EQ(ender.get(), 0);
  }
  open(GetParam());
  {  // the device is going while the window ends
    Shown window = show(0, unit_bytes());
    MarkStop gated("devdax.gated");
    Task remover([&] { return removed(); });
    ASSERT_TRUE(gated.wait_until_stopped());
    window.end();
    gated.go_on();
    EXPECT_EQ(remover.get(), 0);
  }
}

// The last unpin is on its way out of the page map when the device ends: the memory goes after it.
TEST_P(RawRace, LastUnpinMeetsTheEnd) {
  std::optional<Pin> held = pin_at(0, 1).value();
  MarkCount sleeps("layout.break.sleeps");
  Task remover([&] { return removed(); });
  ASSERT_TRUE(sleeps.wait_until(1));
  MarkCount draining("devdax.draining");
  MarkStop told("pagemap.last_put");
  Task releaser([&] {
    held.reset();
    return 0;
  });
  ASSERT_TRUE(told.wait_until_stopped());
  ASSERT_TRUE(draining.wait_until(1));
  EXPECT_FALSE(remover.done());
  EXPECT_NE(core()->window(), nullptr);
  told.go_on();
  EXPECT_EQ(releaser.get(), 0);
  EXPECT_EQ(remover.get(), 0);
  EXPECT_EQ(core()->window(), nullptr);
}

// Nobody has the device any more but a pin; the pin goes on a thread that is inside an epoch.
TEST_P(RawRace, LastPutAfterTheLastHandle) {
  std::optional<Pin> held = pin_at(0, 1).value();
  MarkCount drained("devdax.drained");
  core().reset();
  {
    const epoch::Guard guard;
    held.reset();
  }
  EXPECT_TRUE(drained.wait_until(1));
}

// Everybody at once, many times.
TEST_P(RawRace, AStormAndTheEnd) {
  constexpr int kRounds = 10;
  for (int round = 0; round < kRounds; ++round) {
    open(GetParam());
    std::atomic<int> refused{0};
    std::vector<std::thread> users;
    users.emplace_back([&] {
      while (code_of(pin_at(unit_bytes() - 1, 2)) == 0) {
      }
      ++refused;
    });
    users.emplace_back([&] {
      for (;;) {
        const auto view = try_map(0, unit_bytes());
        if (!view) break;
        Shown window(*view);
        static_cast<void>(test::store_dies_of_bus_error(window.data() + 17));
      }
      ++refused;
    });
    users.emplace_back([&] {
      const auto view = try_map(unit_bytes(), unit_bytes());
      if (view) {
        const Shown window(*view);
        while (!test::dies_of_bus_error(window.data() + 17)) {
        }
      }
      ++refused;
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(round));
    EXPECT_EQ(removed(), 0);
    for (std::thread& user : users) user.join();
    EXPECT_EQ(refused.load(), 3);
    expect_unused();
  }
}

}  // namespace
}  // namespace holdfast::devdax
