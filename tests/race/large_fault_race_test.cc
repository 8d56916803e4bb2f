// Goal: a fault on a unit, a fault on a page of it, and the replacement of a large entry that names no page (EMPTY,
// ZERO) end in one state, whoever is first: R11. Either one entry of the unit's order, or small ones; nobody's
// reference is lost, and who waited for the entry that went looks again. Method: entries: locks of large entries in the
// test's hands, faults in their queue in either order. Windows: a touch stopped at a mark while a pin makes the unit
// one entry, and the reverse.
#include <gtest/gtest.h>

#include <cerrno>
#include <optional>

#include "race/file_race.h"
#include "support/file_fixture.h"
#include "support/mark_stop.h"
#include "support/skip.h"
#include "support/task.h"
#include "support/window_bed.h"

namespace holdfast::test {
namespace {

using mapping::Entry;
using mapping::EntryLock;

class LargeFault : public FileFixture {
 protected:
  static constexpr std::uint64_t kUnit = 512;
  static constexpr std::uint64_t kInside = kUnit + 7;

  EntryLock lock_unit() { return file_->lock_entry(PageIndex(kUnit), kOrder2M, Deadline()).value(); }
  // Two faults in the queue of the unit's lock, the first before the second; then the lock goes.
  void in_turn(EntryLock lock, Order first_order, Order second_order) {
    std::optional<EntryLock> held(std::move(lock));
    MarkCount waits("mapping.lock.waits");
    Task first([&] { return fault(first_order); });
    ASSERT_TRUE(waits.wait_until(1));
    Task second([&] { return fault(second_order); });
    ASSERT_TRUE(waits.wait_until(2));
    held.reset();
    EXPECT_EQ(first.get(), InsertOutcome::inserted);
    EXPECT_EQ(second.get(), first_order == kOrder4K ? InsertOutcome::conflict : InsertOutcome::already_there);
    expect_one(first_order);
  }
  InsertOutcome fault(Order order) { return order == kOrder4K ? insert(kInside) : insert(kUnit, order); }
  // The unit has this entry, and no other.
  void expect_one(Order order) {
    EXPECT_EQ(lookup(kInside), Entry::real(page_of(order == kOrder4K ? kInside : kUnit), order));
    EXPECT_EQ(lookup(kUnit).none(), order == kOrder4K);
    EXPECT_EQ(file_->entry_pages(), order.pages());
    EXPECT_EQ(file_->tracked_pages(), order.pages());
    EXPECT_EQ(map_->references(), 1U);
    EXPECT_EQ(broken(), "");
  }
  void take_away() {
    EXPECT_FALSE(file_->zap(kWhole));
    file_->remove(kWhole);
    EXPECT_EQ(map_->references(), 0U);
  }
};

// Of two faults the first in the queue decides: a small one takes the large EMPTY or ZERO entry away ("downgrade"), and
// the large one is told; a large one takes it over, and the small one finds its page.
TEST_F(LargeFault, R11_TheFirstOfTwoFaultsDecides) {
  for (const bool zero : {false, true}) {
    SCOPED_TRACE(zero ? "ZERO" : "EMPTY");
    for (const Order first : {kOrder4K, kOrder2M}) {
      SCOPED_TRACE(first.raw());
      EntryLock lock = lock_unit();
      if (zero) lock.set_zero();
      in_turn(std::move(lock), first, first == kOrder4K ? kOrder2M : kOrder4K);
      take_away();
    }
  }
}

// A small entry in the middle of its making, or there: a large fault does not wait for it, it is told at once.
TEST_F(LargeFault, R11_ALargeFaultMeetsASmallOneInTheMaking) {
  {
    const EntryLock small = file_->lock_entry(PageIndex(kInside), kOrder4K, Deadline()).value();
    MarkCount waits("mapping.lock.waits");
    EXPECT_EQ(insert(kUnit, kOrder2M), InsertOutcome::conflict);
    EXPECT_EQ(waits.passings(), 0U);
  }
  EXPECT_TRUE(lookup(kInside).none()) << "an EMPTY entry stays for nobody";
  EXPECT_EQ(insert(kUnit, kOrder2M), InsertOutcome::inserted);
  expect_one(kOrder2M);
}

// The fault that had the large EMPTY entry gives up: each who waited makes what it wants, one after the other.
TEST_F(LargeFault, R11_TwoSmallFaultsMeetALargeEntryThatGoes) {
  std::optional<EntryLock> lock(lock_unit());
  MarkCount waits("mapping.lock.waits");
  Task one([&] { return insert(kInside); });
  ASSERT_TRUE(waits.wait_until(1));
  Task other([&] { return insert(kUnit + 400); });
  ASSERT_TRUE(waits.wait_until(2));
  lock.reset();
  EXPECT_EQ(one.get(), InsertOutcome::inserted);
  EXPECT_EQ(other.get(), InsertOutcome::inserted) << "the second waited for an entry that was gone";
  EXPECT_EQ(file_->entry_pages(), PageCount(2));
  EXPECT_EQ(map_->references(), 2U);
}

// A zap meets the large EMPTY entry on which a small fault waits, before it and behind it in the queue: the entry that
// the fault leaves is zapped, or was not there yet.
TEST_F(LargeFault, R11_AZapMeetsTheReplacement) {
  for (const bool fault_first : {true, false}) {
    SCOPED_TRACE(fault_first);
    std::optional<EntryLock> lock(lock_unit());
    MarkCount waits("mapping.lock.waits");
    std::optional<Task<InsertOutcome>> faulter;
    const auto start_fault = [&] { faulter.emplace([&] { return insert(kInside); }); };
    if (fault_first) start_fault();
    ASSERT_TRUE(!fault_first || waits.wait_until(1));
    Task zapper([&] { return file_->zap(kWhole).has_value(); });
    ASSERT_TRUE(waits.wait_until(fault_first ? 2 : 1));
    if (!fault_first) start_fault();
    ASSERT_TRUE(waits.wait_until(2));
    lock.reset();
    EXPECT_FALSE(zapper.get());
    EXPECT_EQ(faulter->get(), InsertOutcome::inserted);
    EXPECT_EQ(broken(), "");
    EXPECT_EQ(map_->references(), lookup(kInside).zapped() ? 0U : 1U);
    if (fault_first) {
      EXPECT_TRUE(lookup(kInside).zapped()) << "the walk passed by what replaced the entry it waited for";
    }
    take_away();
  }
}

// --- the same through windows ---

class UnitFault : public FileRace, public ::testing::WithParamInterface<ServeFaults> {
 protected:
  static constexpr std::uint64_t kUnitBytes = 2 * MiB;
  static constexpr std::uint64_t kTouched = kUnitBytes + 32 * KiB;

  void SetUp() override {
    FileRace::SetUp();
    file_.emplace(make_file("/file"));
    file_->allocate(0, 2 * kUnitBytes).value();
    file_->truncate(2 * kUnitBytes).value();
    window_.emplace(file_->map(0, 2 * kUnitBytes, {.faults = GetParam()}).value());
    if (window_->faults() == Faults::none) HF_SKIP_CAPABILITY("userfaultfd", "windows take no faults");
    file_->write(kTouched, bytes(1, 'x')).value();
  }
  void TearDown() override {
    window_.reset();
    file_->truncate(0).value();
    EXPECT_EQ(references(), 0U);
    file_.reset();
    FileRace::TearDown();
  }
  Pin pin_unit() { return file_->pin(kUnitBytes, kUnitBytes, {.access = Access::write}).value(); }
  char touch() { return std::to_integer<char>(*const_cast<const volatile std::byte*>(window_->data() + kTouched)); }
  void expect_one_unit() {
    EXPECT_EQ(entry_of(*file_, kTouched).order(), kOrder2M);
    EXPECT_EQ(refcount_of(*file_, kTouched), 1U);
    window_->data()[kTouched + 1] = std::byte{'y'};
    EXPECT_EQ(text_of(*file_, kTouched, 2), "xy");
  }

  std::optional<File> file_;
  std::optional<Window> window_;
};

// A touch of one page is on its way, inside its hold, when a pin makes the whole unit one entry: it shows the page of
// that entry.
TEST_P(UnitFault, R11_TheUnitComesUnderATouchOfOnePage) {
  MarkStop stop("window.try_serve");
  Task toucher([&] { return touch(); });
  ASSERT_TRUE(stop.wait_until_stopped());
  {
    const Pin pin = pin_unit();
    EXPECT_EQ(pin.segments().size(), 1U);
    stop.go_on();
    EXPECT_EQ(toucher.get(), 'x');
    EXPECT_EQ(text_of(*file_, kTouched, 1), "x");
  }
  expect_one_unit();
}

// One page of the unit lies elsewhere: there is no unit, and pages have entries of their own. A pin of all of it comes
// under a touch that is on its way: it counts pages, and the touch's page with them.
TEST_P(UnitFault, R11_APinOfScatteredPagesComesUnderATouch) {
  file_->write(kUnitBytes, bytes(kUnitBytes, 'x')).value();
  file_->punch(kTouched + MiB, kPage).value();
  make_file("/other", 64 * KiB);  // takes the place
  fs().sync().value();
  file_->write(kTouched + MiB, bytes(kPage, 'z')).value();
  MarkStop stop("window.try_serve");
  Task toucher([&] { return touch(); });
  ASSERT_TRUE(stop.wait_until_stopped());
  std::optional<Pin> pin = pin_unit();
  EXPECT_EQ(pin->length(), kUnitBytes);
  stop.go_on();
  EXPECT_EQ(toucher.get(), 'x');
  EXPECT_GE(refcount_of(*file_, kTouched), 2U);
  EXPECT_EQ(code_of(file_->punch(kTouched, kPage, {.on_pinned = OnPinned::fail})), EBUSY);
  pin.reset();
  EXPECT_EQ(refcount_of(*file_, kTouched), 1U);
  EXPECT_EQ(touch(), 'x');
}

// The reverse: the pin of the unit is about to insert when a touch brings pages of it. The pin counts pages, or the
// unit; a punch of the page that was touched sees it.
TEST_P(UnitFault, R11_PagesComeUnderAPinOfTheUnit) {
  MarkStop stop("pin.held");
  std::optional<Pin> pin;
  Task pinner([&] {
    pin = pin_unit();
    return true;
  });
  ASSERT_TRUE(stop.wait_until_stopped());
  EXPECT_EQ(touch(), 'x');
  stop.go_on();
  EXPECT_TRUE(pinner.get());
  EXPECT_EQ(code_of(file_->punch(kTouched, kPage, {.on_pinned = OnPinned::fail})), EBUSY);
  EXPECT_EQ(pin->length(), kUnitBytes);
  pin.reset();
  expect_one_unit();
}

INSTANTIATE_TEST_SUITE_P(Served, UnitFault, ::testing::Values(ServeFaults::thread, ServeFaults::in_thread),
                         [](const auto& each) { return each.param == ServeFaults::thread ? "thread" : "in_thread"; });

}  // namespace
}  // namespace holdfast::test
