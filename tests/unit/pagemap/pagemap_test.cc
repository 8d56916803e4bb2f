// Goal: the rules of one unit's counts (P1 to P5), at every order, one thread at a time. Method: each operation from
// each kind of state, words put at their limits by hand, and what lies beside them compared before and after.
#include "pagemap/pagemap.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <tuple>
#include <vector>

#include "base/fault_point.h"
#include "base/parker.h"
#include "base/wait_queue.h"
#include "support/child.h"

namespace holdfast::pagemap {
namespace {

struct Told {
  Pfn first;
  Order order;
  bool operator==(const Told&) const = default;
};

struct Owner final : PageOwner {
  void last_put(Pfn first, Order order) noexcept override { told.push_back({first, order}); }
  std::vector<Told> told;
};

struct Keeper final : DeviceKeeper {
  void drained() noexcept override { ++times; }
  int times = 0;
};

constexpr PageCount kPages{3 * (std::uint64_t{1} << 18)};

std::unique_ptr<PageMap> make_map(DeviceKeeper* keeper = nullptr, PageCount pages = kPages) {
  return PageMap::create(pages, keeper).value();
}

std::uint32_t raw(PageMap& map, Pfn first, Order order) { return map.read(first, order).raw; }

class PageMapOfOrder : public ::testing::TestWithParam<unsigned> {
 protected:
  const Order order_{GetParam()};
  const Pfn first_{std::uint64_t{1} << 18};  // aligned for every order
};
INSTANTIATE_TEST_SUITE_P(Orders, PageMapOfOrder, ::testing::Values(0U, 9U, 18U));

TEST_P(PageMapOfOrder, APinNeedsATrackedUnit) {
  const auto map = make_map();
  EXPECT_EQ(map->try_pin(first_, order_), TakeOutcome::untracked);
  EXPECT_EQ(raw(*map, first_, order_), 0U);
  ASSERT_TRUE(map->track(first_, order_, 7, PageIndex(99)));
  EXPECT_EQ(map->try_pin(first_, order_), TakeOutcome::taken);
  EXPECT_EQ(map->read(first_, order_).pins(), 1U);
  EXPECT_EQ(map->owner(first_, order_), 7U);
  EXPECT_EQ(map->index(first_, order_), PageIndex(99));
  map->untrack(first_, order_);
  EXPECT_EQ(map->try_pin(first_, order_), TakeOutcome::untracked) << "zapped: the pin that is there stays alone";
  map->unpin(first_, order_);
  EXPECT_EQ(raw(*map, first_, order_), 0U) << "a unit that nobody uses has a word of zero";
}

TEST_P(PageMapOfOrder, ABreakKeepsNewPinsOut) {
  const auto map = make_map();
  ASSERT_TRUE(map->track(first_, order_, 1, PageIndex(0)));
  ASSERT_EQ(map->try_pin(first_, order_), TakeOutcome::taken);
  map->set_break(first_, order_);
  EXPECT_EQ(map->try_pin(first_, order_), TakeOutcome::breaking);
  EXPECT_EQ(map->read(first_, order_).pins(), 1U);
  map->unpin(first_, order_);
  EXPECT_TRUE(map->read(first_, order_).breaking()) << "the unpin takes no mark away";
  map->clear_break(first_, order_);
  EXPECT_EQ(map->try_pin(first_, order_), TakeOutcome::taken);
  map->unpin(first_, order_);
  map->untrack(first_, order_);
}

TEST_P(PageMapOfOrder, TheDeviceIsHeldFromTheFirstReferenceToTheLast) {
  const auto map = make_map();
  ASSERT_TRUE(map->track(first_, order_, 1, PageIndex(0)));
  EXPECT_EQ(map->references(), 1U);
  ASSERT_TRUE(map->track(first_, order_, 1, PageIndex(0)));
  ASSERT_EQ(map->try_pin(first_, order_), TakeOutcome::taken);
  EXPECT_EQ(map->references(), 1U) << "one for each unit, not for each reference";
  EXPECT_EQ(map->untrack(first_, order_).tracked(), 1U);
  EXPECT_EQ(map->untrack(first_, order_).refcount(), 1U);
  EXPECT_EQ(map->references(), 1U);
  map->unpin(first_, order_);
  EXPECT_EQ(map->references(), 0U);
}

TEST_P(PageMapOfOrder, AReFaultOfAPinnedUnitTakesNoSecondDeviceReference) {
  const auto map = make_map();
  ASSERT_TRUE(map->track(first_, order_, 1, PageIndex(0)));
  ASSERT_EQ(map->try_pin(first_, order_), TakeOutcome::taken);
  map->untrack(first_, order_);
  ASSERT_TRUE(map->track(first_, order_, 1, PageIndex(0)));
  EXPECT_EQ(map->references(), 1U);
  map->unpin(first_, order_);
  EXPECT_EQ(map->references(), 1U);
  map->untrack(first_, order_);
  EXPECT_EQ(map->references(), 0U);
}

TEST_P(PageMapOfOrder, OnlyTheLastUnpinTellsTheOwner) {
  const auto map = make_map();
  Owner owner;
  const OwnerId id = map->add_owner(owner);
  ASSERT_TRUE(map->track(first_, order_, id, PageIndex(0)));
  ASSERT_EQ(map->try_pin(first_, order_), TakeOutcome::taken);
  map->unpin(first_, order_);
  EXPECT_TRUE(owner.told.empty()) << "an entry names it still";
  ASSERT_EQ(map->try_pin(first_, order_), TakeOutcome::taken);
  ASSERT_EQ(map->try_pin(first_, order_), TakeOutcome::taken);
  map->untrack(first_, order_);
  map->unpin(first_, order_);
  EXPECT_TRUE(owner.told.empty());
  map->unpin(first_, order_);
  EXPECT_EQ(owner.told, (std::vector<Told>{{first_, order_}}));
  // Zapped while idle: the zapper sees for itself.
  ASSERT_TRUE(map->track(first_, order_, id, PageIndex(0)));
  EXPECT_EQ(map->untrack(first_, order_).refcount(), 0U);
  EXPECT_EQ(owner.told.size(), 1U);
  map->remove_owner(id);
}

TEST_P(PageMapOfOrder, AnOwnerThatIsGoneIsNotTold) {
  const auto map = make_map();
  Owner owner;
  const OwnerId id = map->add_owner(owner);
  ASSERT_TRUE(map->track(first_, order_, id, PageIndex(0)));
  ASSERT_EQ(map->try_pin(first_, order_), TakeOutcome::taken);
  map->untrack(first_, order_);
  map->remove_owner(id);
  map->unpin(first_, order_);
  EXPECT_TRUE(owner.told.empty());
  EXPECT_EQ(map->references(), 0U);
}

TEST_P(PageMapOfOrder, AMovedUnitTellsItsNewOwner) {
  const auto map = make_map();
  Owner before;
  Owner after;
  const OwnerId old_id = map->add_owner(before);
  const OwnerId new_id = map->add_owner(after);
  ASSERT_TRUE(map->track(first_, order_, old_id, PageIndex(1)));
  ASSERT_EQ(map->try_pin(first_, order_), TakeOutcome::taken);
  map->untrack(first_, order_);
  const CountWord at_move = map->set_owner(first_, order_, new_id, PageIndex(5));
  EXPECT_EQ(at_move.refcount(), 1U);
  EXPECT_EQ(map->index(first_, order_), PageIndex(5));
  map->unpin(first_, order_);
  EXPECT_TRUE(before.told.empty());
  EXPECT_EQ(after.told, (std::vector<Told>{{first_, order_}}));
  EXPECT_EQ(raw(*map, first_, order_), 0U);
  EXPECT_EQ(map->set_owner(first_, order_, old_id, PageIndex(0)).refcount(), 0U);
  EXPECT_EQ(raw(*map, first_, order_), 0U) << "moving what nobody holds leaves no trace in the word";
  map->remove_owner(old_id);
  map->remove_owner(new_id);
}

// P1, pins: the word at its limit, with every other fact set and clear.
TEST_P(PageMapOfOrder, AFullPinCountRefusesAndTouchesNoNeighbour) {
  const auto map = make_map();
  Atomic<std::uint32_t>& word = map->count(first_, order_);
  for (const std::uint32_t others : {CountWord::kTrackedUnit, CountWord::kTrackedMask,
                                     CountWord::kTrackedUnit | CountWord::kWaiters | CountWord::kMoved}) {
    const std::uint32_t full = others | CountWord::kPinMask;
    word.store(full, std::memory_order_relaxed);
    EXPECT_EQ(map->try_pin(first_, order_), TakeOutcome::full);
    EXPECT_EQ(word.load(std::memory_order_relaxed), full);
    word.store(full - 1, std::memory_order_relaxed);
    EXPECT_EQ(map->try_pin(first_, order_), TakeOutcome::taken);
    EXPECT_EQ(word.load(std::memory_order_relaxed), full) << "up to the limit, and not into its neighbour";
    map->unpin(first_, order_);
    EXPECT_EQ(word.load(std::memory_order_relaxed), (full - 1) & ~CountWord::kWaiters);
  }
  word.store(0, std::memory_order_relaxed);
}

// P1, tracked.
TEST_P(PageMapOfOrder, AFullTrackedCountRefusesAndTouchesNoNeighbour) {
  const auto map = make_map();
  Atomic<std::uint32_t>& word = map->count(first_, order_);
  for (const std::uint32_t others : {std::uint32_t{0}, CountWord::kPinMask, CountWord::kBreak | 1U}) {
    word.store(others | CountWord::kTrackedMask, std::memory_order_relaxed);
    const Status refused = map->track(first_, order_, 1, PageIndex(0));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), EMLINK);
    EXPECT_EQ(word.load(std::memory_order_relaxed), others | CountWord::kTrackedMask);
    EXPECT_EQ(map->untrack(first_, order_).tracked(), 126U);
    ASSERT_TRUE(map->track(first_, order_, 1, PageIndex(0)));
    EXPECT_EQ(word.load(std::memory_order_relaxed), others | CountWord::kTrackedMask);
  }
  word.store(0, std::memory_order_relaxed);
  EXPECT_EQ(map->references(), 0U);
}

TEST_P(PageMapOfOrder, CountsOfDifferentOrdersAndUnitsAreDifferentWords) {
  const auto map = make_map();
  ASSERT_TRUE(map->track(first_, order_, 1, PageIndex(0)));
  ASSERT_EQ(map->try_pin(first_, order_), TakeOutcome::taken);
  for (const Order other : {kOrder4K, kOrder2M, kOrder1G}) {
    EXPECT_EQ(raw(*map, first_, other) != 0, other == order_) << other.raw();
    EXPECT_EQ(raw(*map, Pfn(0), other), 0U);
    EXPECT_EQ(raw(*map, Pfn(std::uint64_t{2} << 18), other), 0U);
  }
  for (const std::uint64_t next : {1U, 2U, 511U}) EXPECT_EQ(raw(*map, first_ + PageCount(next), kOrder4K), 0U);
  EXPECT_EQ(raw(*map, first_ + PageCount(512), kOrder2M), 0U);
  map->unpin(first_, order_);
  map->untrack(first_, order_);
}

// P4: a pin on any of the three counts makes each page it covers busy, and no other.
TEST_P(PageMapOfOrder, IdleLooksAtEachUnitAround) {
  const auto map = make_map();
  const Pfn last = first_ + order_.pages() - PageCount(1);
  const Pfn after = last + PageCount(1);
  ASSERT_TRUE(map->track(first_, order_, 1, PageIndex(0)));
  EXPECT_TRUE(map->idle(first_)) << "tracked is not pinned";
  EXPECT_EQ(map->refcount(last), 1U);
  ASSERT_EQ(map->try_pin(first_, order_), TakeOutcome::taken);
  EXPECT_FALSE(map->idle(first_));
  EXPECT_FALSE(map->idle(last));
  EXPECT_TRUE(map->idle(after));
  EXPECT_TRUE(map->idle(first_ - PageCount(1)));
  EXPECT_EQ(map->refcount(last), 2U);
  EXPECT_EQ(map->refcount(after), 0U);

  EXPECT_EQ(map->first_busy(first_ - PageCount(3), PageCount(10)), first_);
  EXPECT_EQ(map->first_busy(last, PageCount(10)), last) << "a range that begins inside the unit";
  EXPECT_EQ(map->first_busy(after, PageCount(10)), after + PageCount(10));
  EXPECT_EQ(map->first_busy(first_ - PageCount(3), PageCount(3)), first_);
  EXPECT_EQ(map->first_busy(first_, PageCount(0)), first_);
  EXPECT_EQ(map->first_idle(first_, order_.pages() + PageCount(10)), after);
  EXPECT_EQ(map->first_idle(last, PageCount(1)), after) << "a range that begins inside the unit and ends with it";
  EXPECT_EQ(map->first_idle(last, PageCount(0)), last) << "an empty range";
  EXPECT_EQ(map->first_idle(after, PageCount(10)), after);
  const PageCount half(order_.pages().raw() - order_.pages().raw() / 2);
  EXPECT_EQ(map->first_idle(first_, half), first_ + half) << "the range ends within the unit";
  map->unpin(first_, order_);
  map->untrack(first_, order_);
}

TEST_P(PageMapOfOrder, AUnitMayFormOnlyOverUnusedPages) {
  const auto map = make_map();
  EXPECT_TRUE(map->unused(first_, order_));
  // Every smaller unit at its first, second and last place, tracked only and pinned only.
  for (const Order smaller : {kOrder4K, kOrder2M}) {
    if (smaller >= order_) continue;
    const PageCount step = smaller.pages();
    for (const Pfn at : {first_, first_ + step, first_ + order_.pages() - step}) {
      ASSERT_TRUE(map->track(at, smaller, 1, PageIndex(0)));
      EXPECT_FALSE(map->unused(first_, order_)) << at.raw();
      ASSERT_EQ(map->try_pin(at, smaller), TakeOutcome::taken);
      map->untrack(at, smaller);
      EXPECT_FALSE(map->unused(first_, order_)) << at.raw();
      map->unpin(at, smaller);
      EXPECT_TRUE(map->unused(first_, order_));
    }
  }
  // What lies beside it does not matter.
  ASSERT_TRUE(map->track(first_ - PageCount(1), kOrder4K, 1, PageIndex(0)));
  ASSERT_TRUE(map->track(first_ + order_.pages(), kOrder4K, 1, PageIndex(0)));
  EXPECT_TRUE(map->unused(first_, order_));
  map->untrack(first_ - PageCount(1), kOrder4K);
  map->untrack(first_ + order_.pages(), kOrder4K);
  // A pin that is left from a larger unit around it, or from itself, does.
  for (const Order larger : {kOrder4K, kOrder2M, kOrder1G}) {
    if (larger < order_) continue;
    ASSERT_TRUE(map->track(first_, larger, 1, PageIndex(0)));
    ASSERT_EQ(map->try_pin(first_, larger), TakeOutcome::taken);
    map->untrack(first_, larger);
    EXPECT_FALSE(map->unused(first_, order_)) << larger.raw();
    map->unpin(first_, larger);
  }
}

// The wake of an unpin, seen by a parker that waits on the unit's key.
class Ear {
 public:
  Ear(PageMap& map, Pfn first, Order order) : waiter_(&map.count(first, order), parker_) {}
  bool heard() { return parker_.park(Deadline::at(Nanoseconds(0))) == ParkOutcome::unparked; }

 private:
  Parker parker_;
  Waiter waiter_;
};

TEST_P(PageMapOfOrder, AnAnnouncedSleeperHearsOfTheNextUnpin) {
  const auto map = make_map();
  Ear ear(*map, first_, order_);
  ASSERT_TRUE(map->track(first_, order_, 1, PageIndex(0)));
  for (int i = 0; i < 3; ++i) ASSERT_EQ(map->try_pin(first_, order_), TakeOutcome::taken);
  map->unpin(first_, order_);
  EXPECT_FALSE(ear.heard()) << "nobody announced a sleeper";
  EXPECT_EQ(map->announce_waiter(first_, order_).pins(), 2U);
  EXPECT_TRUE(map->read(first_, order_).has_waiters());
  map->unpin(first_, order_);
  EXPECT_TRUE(ear.heard()) << "what is left may be the sleeper's own";
  EXPECT_FALSE(map->read(first_, order_).has_waiters());
  EXPECT_EQ(map->announce_waiter(first_, order_).pins(), 1U);
  map->unpin(first_, order_);
  EXPECT_TRUE(ear.heard());
  EXPECT_EQ(map->announce_waiter(first_, order_).pins(), 0U);
  EXPECT_FALSE(map->read(first_, order_).has_waiters()) << "nothing to wait for, nothing announced";
  map->untrack(first_, order_);
}

TEST_P(PageMapOfOrder, TheLastReferenceWakesToo) {
  const auto map = make_map();
  Ear ear(*map, first_, order_);
  ASSERT_TRUE(map->track(first_, order_, 1, PageIndex(0)));
  ASSERT_EQ(map->try_pin(first_, order_), TakeOutcome::taken);
  map->untrack(first_, order_);
  map->announce_waiter(first_, order_);
  map->unpin(first_, order_);
  EXPECT_TRUE(ear.heard());
}

TEST_P(PageMapOfOrder, UnderABreakTheStepToZeroWakesUnannounced) {
  const auto map = make_map();
  Ear ear(*map, first_, order_);
  ASSERT_TRUE(map->track(first_, order_, 1, PageIndex(0)));
  for (int i = 0; i < 2; ++i) ASSERT_EQ(map->try_pin(first_, order_), TakeOutcome::taken);
  map->set_break(first_, order_);
  map->unpin(first_, order_);
  EXPECT_FALSE(ear.heard());
  map->unpin(first_, order_);
  EXPECT_TRUE(ear.heard());
  map->clear_break(first_, order_);
  EXPECT_TRUE(ear.heard()) << "pins wait for the end of a break on the same key";
  map->untrack(first_, order_);
}

TEST_P(PageMapOfOrder, NoAssociationAfterClose) {
  Keeper keeper;
  const auto map = make_map(&keeper);
  ASSERT_TRUE(map->track(first_, order_, 1, PageIndex(3)));
  ASSERT_EQ(map->try_pin(first_, order_), TakeOutcome::taken);
  map->close();
  for (const Pfn at : {first_, Pfn(0)}) {  // a unit that has references, and one that has none
    const std::uint32_t before = raw(*map, at, order_);
    const Status refused = map->track(at, order_, 2, PageIndex(4));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), ENODEV);
    EXPECT_EQ(raw(*map, at, order_), before);
  }
  EXPECT_EQ(map->index(first_, order_), PageIndex(3));
  EXPECT_EQ(map->try_pin(first_, order_), TakeOutcome::taken) << "what is associated stays so until it is zapped";
  map->release_creator();
  map->unpin(first_, order_);
  map->untrack(first_, order_);
  EXPECT_EQ(keeper.times, 0);
  map->unpin(first_, order_);
  EXPECT_EQ(keeper.times, 1);
}

TEST(PageMap, AnUnpinMayEndTheMap) {
  // The keeper frees the map in the midst of unpin: AddressSanitizer sees what is touched afterwards.
  struct Core final : DeviceKeeper {
    void drained() noexcept override { map.reset(); }
    std::unique_ptr<PageMap> map;
    Owner owner;
  };
  Core core;
  core.map = make_map(&core);
  PageMap& map = *core.map;
  const OwnerId id = map.add_owner(core.owner);
  ASSERT_TRUE(map.track(Pfn(5), kOrder4K, id, PageIndex(0)));
  ASSERT_EQ(map.try_pin(Pfn(5), kOrder4K), TakeOutcome::taken);
  map.untrack(Pfn(5), kOrder4K);
  map.close();
  map.release_creator();
  ASSERT_NE(core.map, nullptr);
  map.unpin(Pfn(5), kOrder4K);
  EXPECT_EQ(core.map, nullptr);
  EXPECT_EQ(core.owner.told.size(), 1U) << "the owner was told while the map existed";
}

TEST(PageMap, AttachTouchesNoDescriptor) {
  const auto map = make_map(nullptr, PageCount(256 * GiB / kPageBytes));
  const auto page_bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t table_bytes = 256 * GiB / kPageBytes * sizeof(Page);
  std::vector<unsigned char> resident(table_bytes / page_bytes);
  ASSERT_EQ(mincore(&map->page(Pfn(0)), table_bytes, resident.data()), 0);
  for (const unsigned char each : resident) ASSERT_EQ(each & 1U, 0U);
  EXPECT_EQ(map->try_pin(Pfn(std::uint64_t{1} << 20), kOrder4K), TakeOutcome::untracked);
}

TEST(PageMap, ADeviceMayEndAnywhere) {
  // One page beyond a GiB: the unit's count lies in a page that the device does not have.
  const auto map = make_map(nullptr, PageCount((1U << 18) + 1));
  EXPECT_TRUE(map->idle(Pfn(1U << 18)));
  EXPECT_EQ(map->refcount(Pfn(1U << 18)), 0U);
  const auto none = make_map(nullptr, PageCount(0));
  EXPECT_EQ(none->pages(), PageCount(0));
}

TEST(PageMap, NoAddressSpaceIsAnError) {
  EXPECT_EQ(PageMap::create(PageCount(std::uint64_t{1} << 55), nullptr).error().code(), ENOMEM);
#if defined(HOLDFAST_TEST_HOOKS) && HOLDFAST_TEST_HOOKS
  fault_point::arm("pagemap.map", 1);
  EXPECT_EQ(PageMap::create(PageCount(1), nullptr).error().code(), ENOMEM);
  fault_point::disarm_all();
#endif
}

TEST(PageMap, AChildGivesNothingBackAndCrashesNot) {
  Keeper keeper;
  const auto map = make_map(&keeper);
  Owner owner;
  const OwnerId id = map->add_owner(owner);
  ASSERT_TRUE(map->track(Pfn(5), kOrder4K, id, PageIndex(0)));
  ASSERT_EQ(map->try_pin(Pfn(5), kOrder4K), TakeOutcome::taken);
  const test::ChildEnd end = test::run_in_child([&]() -> std::string {
    if (map->try_pin(Pfn(5), kOrder4K) != TakeOutcome::untracked) return "a child pinned what the parent tracks";
    map->unpin(Pfn(5), kOrder4K);
    map->untrack(Pfn(5), kOrder4K);
    map->clear_break(Pfn(5), kOrder4K);
    map->remove_owner(id);
    map->close();
    map->release_creator();
    if (keeper.times != 0 || !owner.told.empty()) return "upcalls in the child";
    // A map of its own works there as anywhere.
    const auto own = make_map();
    if (!own->track(Pfn(1), kOrder4K, 0, PageIndex(0))) return "the child cannot track";
    if (own->try_pin(Pfn(1), kOrder4K) != TakeOutcome::taken) return "the child cannot pin";
    own->unpin(Pfn(1), kOrder4K);
    own->untrack(Pfn(1), kOrder4K);
    return "";
  });
  EXPECT_TRUE(end.exited) << "signal " << end.signal;
  EXPECT_EQ(end.status, 0) << end.message;
  EXPECT_EQ(map->read(Pfn(5), kOrder4K).refcount(), 2U);
  map->untrack(Pfn(5), kOrder4K);
  map->unpin(Pfn(5), kOrder4K);
  EXPECT_EQ(owner.told.size(), 1U);
  map->remove_owner(id);
}

TEST(PageMapDeathTest, OneTooManyIsFound) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a new process: in a forked one it is no mistake
  const auto map = make_map();
  EXPECT_DEATH(map->unpin(Pfn(1), kOrder4K), "P1: page 0x1 of order 0 is unpinned once too often");
  EXPECT_DEATH(static_cast<void>(map->untrack(Pfn(1), kOrder4K)),
               "P1: page 0x1 of order 0 is untracked once too often");
  ASSERT_TRUE(map->track(Pfn(1), kOrder4K, 1, PageIndex(0)));
  EXPECT_DEATH(map->unpin(Pfn(1), kOrder4K), "P1: page 0x1 of order 0 is unpinned once too often") << "tracked, no pin";
  map->untrack(Pfn(1), kOrder4K);
}

}  // namespace
}  // namespace holdfast::pagemap
